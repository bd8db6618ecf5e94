"""Generated drawings of cats and dogs: nobody photographed these animals.

No freely licensed photographs of cats and dogs could be bundled, so a program draws faces. What
tells the kinds apart is shape: ears, muzzle, nose, pupils, whiskers. Colour, fur pattern, place,
size, tilt and background come from the same distributions for both, and one in five has the ears
of the other kind. Use :func:`roofline.data.picture_folder` for photographs of your own.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from .dataset import Images
from .sources import Source

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

KINDS = ("cat", "dog")
DRAWN = Source(
    name="cats_and_dogs",
    title="Drawings of cats and dogs",
    licence="the licence of this course",
    attribution="drawn by roofline.data.drawings",
    origin="No photograph was used",
    files={},
    generated=True,
)
COATS = (
    (60, 55, 55),
    (120, 85, 55),
    (190, 140, 85),
    (225, 205, 175),
    (150, 150, 155),
    (205, 120, 50),
)
OVERSAMPLE = 2

Colour = tuple[int, int, int]
Place = Callable[[float, float], tuple[float, float]]
Blob = Callable[[float, float, float, float, Colour], None]


def cats_and_dogs(
    count: int = 240, size: int = 224, seed: int = 0, grey: bool = False
) -> tuple[Images, Images]:
    """Generated drawings, half of them cats, to train on and to test on (a quarter of them).

    Images are (N, 3, size, size), or (N, 1, size, size) if ``grey``, float32 in [0, 1]; a hundred
    at 224×224 in colour take 60 MB. ``.generated`` is True. The same seed draws the same pictures.
    """
    if count < 8:
        raise ValueError(f"count is {count}, expected at least 8")
    labels = torch.arange(count) % 2
    drawn = (draw(KINDS[i % 2], size, seed * 1_000_003 + i) for i in range(count))
    pixels = np.stack([np.asarray(picture.convert("L") if grey else picture) for picture in drawn])
    pixels = pixels[:, None] if grey else pixels.transpose(0, 3, 1, 2)
    images = torch.from_numpy(np.ascontiguousarray(pixels)).float().div_(255)
    return Images(images, labels, KINDS, DRAWN).split(0.25, seed)


def write_cats_and_dogs(
    folder: str | Path, count: int = 40, size: int = 224, seed: int = 0
) -> Path:
    """Write ``count`` drawings as PNG files into ``folder``/cat and ``folder``/dog."""
    for i in range(count):
        path = Path(folder) / KINDS[i % 2] / f"drawing-{i:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(KINDS[i % 2], size, seed * 1_000_003 + i).save(path)
    return Path(folder)


def draw(kind: str, size: int = 224, seed: int = 0) -> Image:
    """One RGB picture of a "cat" or a "dog", ``size`` pixels square."""
    from PIL import Image, ImageDraw

    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}, expected 'cat' or 'dog'")
    rng = random.Random(seed)
    side = size * OVERSAMPLE
    canvas = _background(rng, side)
    radius = side * rng.uniform(0.17, 0.27)
    coat = _vary(rng, rng.choice(COATS), 25)
    # The head is drawn upright on a layer of its own, which is then tilted and put somewhere.
    layer = Image.new("RGBA", (int(5 * radius),) * 2)
    _head(ImageDraw.Draw(layer), rng, kind, layer.width / 2, radius, coat)
    layer = layer.rotate(rng.uniform(-25, 25), Image.Resampling.BILINEAR)
    room = side / 2 - 1.35 * radius
    middle = [side / 2 + rng.uniform(-room, room) - layer.width / 2 for _ in range(2)]
    _body(ImageDraw.Draw(canvas), [m + layer.width / 2 for m in middle], radius, coat)
    canvas.paste(layer, (int(middle[0]), int(middle[1])), layer)
    small = np.asarray(canvas.reduce(OVERSAMPLE), np.float32)
    grain = np.random.default_rng(seed).standard_normal(small.shape, np.float32)
    lit = small * np.float32(rng.uniform(0.75, 1.15)) + 6 * grain
    return Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8))


def _head(
    pen: ImageDraw, rng: random.Random, kind: str, middle: float, radius: float, coat: Colour
) -> None:
    """Ears, face, fur pattern, eyes, muzzle, nose and mouth around (middle, middle)."""

    def at(x: float, y: float) -> tuple[float, float]:
        return middle + x * radius, middle + y * radius

    def blob(x: float, y: float, wide: float, high: float, fill: Colour) -> None:
        pen.ellipse([at(x - wide, y - high), at(x + wide, y + high)], fill=fill)

    dark, pale = _shade(coat, 0.6), _shade(coat, 1.25)
    ears = kind if rng.random() > 0.2 else KINDS[1 - KINDS.index(kind)]
    wide = rng.uniform(0.9, 1.1)
    if ears == "cat":
        tip = rng.uniform(1.35, 1.75)
        for s in (-1, 1):
            pen.polygon([at(s * 0.95, -0.25), at(s * 0.85, -tip), at(s * 0.2, -0.85)], fill=coat)
            pen.polygon(
                [at(s * 0.82, -0.5), at(s * 0.78, -tip + 0.25), at(s * 0.4, -0.8)], fill=pale
            )
    blob(0, 0, wide, rng.uniform(0.85, 1.0), coat)
    for _ in range(rng.randint(0, 3)):  # patches or stripes of fur, on either kind
        x, y = rng.uniform(-0.6, 0.6), rng.uniform(-0.8, 0.0)
        blob(x, y, rng.uniform(0.08, 0.3), rng.uniform(0.08, 0.3), rng.choice((dark, pale)))
    if ears == "dog":
        drop = rng.uniform(0.45, 0.7)
        for s in (-1, 1):
            blob(s * (wide + 0.05), -0.1 + drop / 3, 0.28, drop, dark)
    iris = _vary(rng, rng.choice(((90, 140, 70), (150, 110, 50), (70, 110, 150))), 20)
    apart, eye = rng.uniform(0.36, 0.46), rng.uniform(0.14, 0.2)
    for s in (-1, 1):
        blob(s * apart, -0.2, eye, eye, iris)
        blob(s * apart, -0.2, eye * (0.3 if kind == "cat" else 0.65), eye * 0.85, (15, 15, 15))
    if kind == "cat":
        _cat_muzzle(pen, rng, at, blob, pale)
    else:
        _dog_muzzle(pen, rng, at, blob, pale)


def _cat_muzzle(pen: ImageDraw, rng: random.Random, at: Place, blob: Blob, pale: Colour) -> None:
    for s in (-1, 1):
        blob(s * 0.15, 0.4, 0.2, 0.16, pale)
    pen.polygon([at(-0.11, 0.2), at(0.11, 0.2), at(0, 0.34)], fill=(200, 120, 130))
    thin = max(1, int(abs(at(0.02, 0)[0] - at(0, 0)[0])))
    pen.line([at(0, 0.34), at(0, 0.46)], fill=(30, 30, 30), width=thin)
    reach = rng.uniform(0.9, 1.4)
    for s in (-1, 1):
        for slope in (-0.15, 0.0, 0.15):
            ends = [at(s * 0.2, 0.4 + slope / 3), at(s * reach, 0.4 + slope * 2)]
            pen.line(ends, fill=(235, 235, 235), width=thin)


def _dog_muzzle(pen: ImageDraw, rng: random.Random, at: Place, blob: Blob, pale: Colour) -> None:
    blob(0, 0.5, rng.uniform(0.38, 0.5), rng.uniform(0.42, 0.52), pale)
    if rng.random() < 0.4:
        blob(0, 0.95, 0.15, 0.25, (215, 110, 120))
    blob(0, 0.25, rng.uniform(0.17, 0.23), 0.14, (25, 20, 20))
    thin = max(1, int(abs(at(0.03, 0)[0] - at(0, 0)[0])))
    pen.arc([at(-0.3, 0.35), at(0, 0.8)], 0, 100, fill=(30, 30, 30), width=thin)
    pen.arc([at(0, 0.35), at(0.3, 0.8)], 80, 180, fill=(30, 30, 30), width=thin)


def _body(pen: ImageDraw, middle: list[float], radius: float, coat: Colour) -> None:
    x, y = middle
    box = [x - 1.1 * radius, y + 0.6 * radius, x + 1.1 * radius, y + 6 * radius]
    pen.ellipse(box, fill=_shade(coat, 0.85))


def _background(rng: random.Random, side: int) -> Image:
    """A gradient between two colours, with a few discs and bars."""
    from PIL import Image, ImageDraw

    first, last = (np.array([rng.randint(40, 230) for _ in range(3)]) for _ in range(2))
    angle = rng.uniform(0, 2 * math.pi)
    steps = np.linspace(-0.5, 0.5, 64)
    slope = np.cos(angle) * steps[None, :] + np.sin(angle) * steps[:, None] + 0.5
    pixels = first + np.clip(slope, 0, 1)[..., None] * (last - first)
    canvas = Image.fromarray(pixels.astype(np.uint8)).resize((side, side))
    pen = ImageDraw.Draw(canvas)
    for _ in range(rng.randint(2, 6)):
        x, y, r = rng.uniform(0, side), rng.uniform(0, side), side * rng.uniform(0.03, 0.15)
        fill = tuple(rng.randint(30, 230) for _ in range(3))
        if rng.random() < 0.5:
            pen.ellipse([x - r, y - r, x + r, y + r], fill=fill)
        else:
            pen.polygon([(x, y - r), (x + r, y + r), (x - r, y + r)], fill=fill)
    return canvas


def _shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255, int(value * factor)) for value in colour)
    return red, green, blue


def _vary(rng: random.Random, colour: Colour, by: int) -> Colour:
    red, green, blue = (min(255, max(0, value + rng.randint(-by, by))) for value in colour)
    return red, green, blue
