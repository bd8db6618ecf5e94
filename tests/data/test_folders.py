"""Folders of pictures and texts: right values, and an error that names the file."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
import torch
from PIL import Image
from roofline.data import (
    cats_and_dogs,
    loader,
    picture_folder,
    read_picture,
    read_text,
    text_folder,
    write_cats_and_dogs,
)


@pytest.fixture
def photos(tmp_path):
    """Two classes; sizes, modes and formats as people have them."""
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
    Image.new("RGB", (40, 20), (255, 0, 0)).save(tmp_path / "cat" / "a.png")
    Image.new("L", (20, 40), 128).save(tmp_path / "cat" / "b.JPG")
    Image.new("RGBA", (20, 20), (0, 0, 0, 0)).save(tmp_path / "dog" / "c.png")
    Image.new("P", (20, 20)).save(tmp_path / "dog" / "d.gif")
    Image.new("CMYK", (20, 20)).save(tmp_path / "dog" / "e.tiff")
    (tmp_path / "dog" / "notes.txt").write_text("not a picture")
    (tmp_path / "dog" / ".hidden.png").write_text("not a picture")
    return tmp_path


def test_a_folder_of_pictures(photos):
    data = picture_folder(photos, size=16)
    assert data.classes == ("cat", "dog") and data.labels.tolist() == [0, 0, 1, 1, 1]
    images, labels = data[torch.tensor([0, 1, 2])]
    assert images.shape == (3, 3, 16, 16) and images.dtype == torch.float32
    assert labels.tolist() == [0, 0, 1]
    assert torch.equal(images[0, :, 0, 0], torch.tensor([1.0, 0, 0]))
    assert torch.allclose(images[1], torch.tensor(128 / 255), atol=0.01)
    assert torch.equal(images[2], torch.ones(3, 16, 16)), "transparent parts are white"
    everything = data.load()
    assert everything.images.shape == (5, 3, 16, 16) and everything.files == data.files
    assert picture_folder(photos, 16, grey=True)[0:2][0].shape == (2, 1, 16, 16)
    assert data[0][0].shape == (3, 16, 16) and int(data[4][1]) == 1


def test_loader_reads_pictures_with_workers(photos):
    data = picture_folder(photos, 8)
    alone, many = loader(data, 2, True, 1), loader(data, 2, True, 1, workers=3)
    for (images, labels), (others, other_labels) in zip(alone, many, strict=True):
        assert torch.equal(images, others) and torch.equal(labels, other_labels)


def test_crop_takes_the_middle_and_squeeze_takes_all(tmp_path):
    pixels = np.zeros((10, 30), np.uint8)
    pixels[:, 10:20] = 255
    Image.fromarray(pixels).save(tmp_path / "bar.png")
    assert read_picture(tmp_path / "bar.png", 10, grey=True).min() == 1
    squeezed = read_picture(tmp_path / "bar.png", 30, grey=True, crop=False)
    assert abs(float(squeezed.mean()) - 1 / 3) < 0.02


def test_pictures_are_turned_upright(tmp_path):
    picture = Image.fromarray(np.repeat(np.array([[0, 255]], np.uint8), 2, axis=0))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90° clockwise
    picture.save(tmp_path / "turned.png", exif=exif)
    shown = read_picture(tmp_path / "turned.png", 2, grey=True)[0]
    assert shown.tolist() == [[0, 0], [1, 1]]


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path):
    Image.fromarray(np.full((4, 4), 40000, np.uint16)).save(tmp_path / "deep.png")
    value = float(read_picture(tmp_path / "deep.png", 4, grey=True).mean())
    assert value == pytest.approx(40000 / 65535, abs=0.01)


def test_no_folder_empty_folder_empty_class(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        picture_folder(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="has no sub-folders: put the files"):
        picture_folder(tmp_path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(FileNotFoundError, match="cat has no file that ends in .jpg"):
        picture_folder(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a picture at all", None])
def test_unreadable_picture_is_named_or_skipped_and_counted(photos, content):
    bad = photos / "cat" / "a.png"
    whole = (photos / "dog" / "c.png").read_bytes()
    bad.write_bytes(whole[: len(whole) // 2] if content is None else content)
    data = picture_folder(photos, 8)
    with pytest.raises(ValueError, match=r"a.png can't be read as a picture \(.*remove it, or"):
        data[0]
    tolerant = picture_folder(photos, 8, skip_unreadable=True)
    assert tolerant.skipped == (str(bad),) and tolerant.labels.tolist() == [0, 1, 1, 1]
    assert len(tolerant.load()) == 4 and tolerant.load().skipped == (str(bad),)


@pytest.mark.parametrize(
    "values", [np.full((9, 9), 0.5, np.float32), np.full((9, 9), 2**20, np.int32)]
)
def test_pixels_without_a_known_white_are_refused_and_not_black(tmp_path, values):
    path = tmp_path / "depth.tif"
    Image.fromarray(values).save(path)
    with pytest.raises(ValueError, match="depth.tif can't be read as a picture .its pixels are"):
        read_picture(path, 8)


def test_all_pictures_unreadable(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "a.png").write_bytes(b"")
    with pytest.raises(ValueError, match="none of the 1 pictures"):
        picture_folder(tmp_path, skip_unreadable=True)


def test_classes_of_another_set(photos):
    data = picture_folder(photos, 8, classes=("dog", "cat", "cow"))
    assert data.classes == ("dog", "cat", "cow") and data.labels.tolist() == [1, 1, 0, 0, 0]
    with pytest.raises(ValueError, match="dog is not one of the classes cat, cow"):
        picture_folder(photos, 8, classes=("cat", "cow"))


def test_labels_from_a_file(photos):
    listing = photos / "labels.csv"
    names = ["cat/a.png", "cat/b.JPG", "dog/c.png", "dog/d.gif", "dog/e.tiff"]
    listing.write_text("".join(f"{name},{'x' if 'a' in name else 'y'}\n" for name in names))
    data = picture_folder(photos, 8, labels=listing)
    assert data.classes == ("x", "y") and data.labels.tolist() == [0, 0, 1, 1, 1]
    with pytest.raises(ValueError, match="labels dog/c.png as 'y', expected one of x, z"):
        picture_folder(photos, 8, labels=listing, classes=("x", "z"))
    listing.write_text("cat/a.png,x\n")
    with pytest.raises(ValueError, match="b.JPG has no label: add a line for it to .*labels.csv"):
        picture_folder(photos, 8, labels=listing)
    listing.write_text("cat/zzz.png,x\n")
    with pytest.raises(ValueError, match="labels.csv labels cat/zzz.png, but .* is not there"):
        picture_folder(photos, 8, labels=listing)
    listing.write_text("cat/a.png,x\ncat/b.JPG,y\ncat/a.png,y\n")
    with pytest.raises(ValueError, match="labels.csv, line 3: cat/a.png is 'x' further up"):
        picture_folder(photos, 8, labels=listing)
    listing.write_text("cat/a.png\n")
    with pytest.raises(ValueError, match="labels.csv, line 1: expected 'file,class'"):
        picture_folder(photos, 8, labels=listing)


def test_labels_that_do_not_match_are_skipped_and_counted_where_that_is_asked_for(photos):
    listing = photos / "labels.csv"
    listing.write_text("cat/a.png,x\ncat/zzz.png,x\ndog/c.png,y\ndog/d.gif,w\n")
    options = {"size": 8, "labels": listing, "skip_unlabelled": True}
    data = picture_folder(photos, **options)
    names = [str(photos / name) for name in ("cat/b.JPG", "cat/zzz.png", "dog/e.tiff")]
    assert data.skipped == tuple(names) and data.classes == ("w", "x", "y")
    assert data.labels.tolist() == [1, 2, 0] and len(data.load()) == 3
    data = picture_folder(photos, **options, classes=("x", "y"))
    assert data.labels.tolist() == [0, 1]
    assert data.skipped == tuple(sorted([*names, str(photos / "dog/d.gif")]))
    (photos / "dog" / "c.png").write_bytes(b"")
    data = picture_folder(photos, **options, classes=("x", "y"), skip_unreadable=True)
    assert data.labels.tolist() == [0] and len(data.skipped) == 5
    (photos / "cow").mkdir()
    data = picture_folder(photos, 8, classes=("cat", "cow"), skip_unlabelled=True)
    assert data.labels.tolist() == [0, 0]
    assert data.skipped == (
        *[str(photos / "dog" / name) for name in ("c.png", "d.gif", "e.tiff")],
        str(photos / "cow"),
    )
    with pytest.raises(FileNotFoundError, match="has no file of a class that is asked for"):
        picture_folder(photos, 8, classes=("cow",), skip_unlabelled=True)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", ["jpeg", "png", "gif", "bmp", "webp", "tiff", "ppm"])
def test_a_damaged_picture_is_read_or_named(kind, tmp_path, capfd):
    """Files cut short and with wrong bytes: a picture, or one error that names the file."""
    pixels = np.random.default_rng(0).integers(0, 255, (24, 30, 3), np.uint8)
    file, random = tmp_path / f"x.{kind}", Random(kind)
    Image.fromarray(pixels).save(file)
    whole, named = file.read_bytes(), 0
    for _ in range(60):
        data = bytearray(whole[: random.choice([len(whole), random.randrange(len(whole))])])
        for place in random.sample(range(len(data)), min(len(data), 6)):
            data[place] = random.randrange(256)
        file.write_bytes(data)
        try:
            assert read_picture(file, 8).shape == (3, 8, 8)
        except ValueError as error:
            assert str(file) in str(error) and "\n" not in str(error)
            named += 1
    assert named
    capfd.readouterr()  # the decoders' own complaints


def test_split_and_take(photos):
    first, second = picture_folder(photos, 8).split(0.5)
    assert len(first) + len(second) == 5 and not set(first.files) & set(second.files)


def test_drawings_through_the_same_reader(tmp_path):
    data = picture_folder(write_cats_and_dogs(tmp_path, 8, 32, seed=5), size=32)
    train, test = cats_and_dogs(8, 32, seed=5)
    drawn = torch.cat([train.images, test.images])
    assert all(any(torch.equal(data[i][0], d) for d in drawn) for i in range(len(data)))


def test_bad_encoding_is_named_or_skipped_and_counted(tmp_path):
    (tmp_path / "de").mkdir()
    (tmp_path / "de" / "good.txt").write_bytes(b"\xef\xbb\xbfgr\xc3\xbcn")
    bad = tmp_path / "de" / "bad.txt"
    bad.write_bytes("eins\ngrün".encode("latin-1"))
    with pytest.raises(ValueError, match="bad.txt is not text in utf-8: byte 0xfc in line 2"):
        text_folder(tmp_path)
    assert read_text(bad, "latin-1") == "eins\ngrün"
    data = text_folder(tmp_path, skip_unreadable=True)
    assert data.texts == ("grün",) and data.skipped == (str(bad),) and data.labels.tolist() == [0]
    (tmp_path / "de" / "good.txt").unlink()
    with pytest.raises(ValueError, match="none of the 1 texts in .* can be read as utf-8"):
        text_folder(tmp_path, skip_unreadable=True)
    listing = tmp_path / "labels.csv"
    listing.write_bytes("de/bad.txt,grün\n".encode("latin-1"))
    with pytest.raises(ValueError, match="labels.csv is not text in utf-8: byte 0xfc in line 1"):
        text_folder(tmp_path, labels=listing)


def test_texts_whose_labels_do_not_match(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.txt").write_text(name)
    listing = tmp_path / "labels.csv"
    listing.write_text("a.txt,x\nb.txt,y\n")
    with pytest.raises(ValueError, match="c.txt has no label: add a line for it to"):
        text_folder(tmp_path, labels=listing)
    data = text_folder(tmp_path, labels=listing, skip_unlabelled=True)
    assert data.texts == ("a", "b") and data.skipped == (str(tmp_path / "c.txt"),)
