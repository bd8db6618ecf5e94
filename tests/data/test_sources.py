"""Every bundled file has a licence, an attribution, a checksum that holds, and its script."""

from __future__ import annotations

import hashlib

import pytest
from roofline.data import bundled, source, sources


@pytest.mark.parametrize("name", bundled())
def test_each_set_is_accounted_for(name):
    folder = sources.BUNDLED / name
    record = source(name)
    assert record.title and record.licence and record.attribution and record.origin
    assert (folder / "LICENSE").stat().st_size > 100 and (folder / "make.py").is_file()
    about = {"LICENSE", "make.py", "source.json"}
    files = {p.name for p in folder.iterdir() if p.name != "__pycache__"} - about
    assert files == set(record.files)
    for file in files:
        data = (folder / file).read_bytes()
        assert hashlib.sha256(data).hexdigest() == record.files[file]
        assert sources.read(name, file) == data


def test_all_committed_data_stays_small():
    total = sum(path.stat().st_size for path in sources.BUNDLED.rglob("*") if path.is_file())
    assert 5e6 < total < 12e6


def test_damage_is_noticed(tmp_path, monkeypatch):
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "a.txt").write_bytes(b"abc")
    sources.write_source(
        tmp_path / "toy",
        title="Toy",
        licence="CC0",
        attribution="nobody",
        origin="here",
        files=("a.txt",),
    )
    monkeypatch.setattr(sources, "BUNDLED", tmp_path)
    assert sources.read("toy", "a.txt") == b"abc"
    (tmp_path / "toy" / "a.txt").write_bytes(b"abd")
    with pytest.raises(ValueError, match="a.txt is damaged"):
        sources.read("toy", "a.txt")


def test_unknown_set_lists_the_known_ones():
    with pytest.raises(ValueError, match="fashion_mnist"):
        source("fashion")
