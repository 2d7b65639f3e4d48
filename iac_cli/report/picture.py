"""Drawing for the preview: palette pixels, outlines, text, and a PNG whose bytes never vary.

Pictures are (rows, columns) uint8 palette indices: greys up to `LIGHTEST`, colours after it.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LIGHTEST = 239
"""Palette index of white; lower ones are darker."""

Colour = tuple[int, int, int]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text with its upper left corner at (x, y) pixels, `size` pixels high."""

    x: int
    y: int
    words: str
    size: int
    grey: int = LIGHTEST


def greys(hu: NDArray[np.float32], window_hu: tuple[float, float]) -> Pixels:
    """HU as palette greys, black at the window's lower end."""
    low, high = window_hu
    shade = np.clip((hu - low) / (high - low), 0.0, 1.0) * LIGHTEST
    return np.asarray(np.round(shade), dtype=np.uint8)


def with_text(picture: Pixels, texts: Sequence[Text]) -> Pixels:
    """The picture with text on a dark rim, so that it reads on bone too."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    for text in texts:
        draw.text(
            (text.x, text.y),
            text.words,
            fill=text.grey,
            font=ImageFont.load_default(text.size),
            stroke_width=1,
            stroke_fill=0,
        )
    return np.array(image)


def text_width(words: str, size: int) -> int:
    """Width of a text in pixels."""
    from PIL import ImageFont

    return int(np.ceil(ImageFont.load_default(size).getlength(words)))


def outline(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A rim two pixels wide around a region, outside it: what it encloses stays visible."""
    from scipy import ndimage

    grown = ndimage.binary_dilation(region, structure=np.ones((3, 3), dtype=bool), iterations=2)
    return np.asarray(grown & ~region)


def png_bytes(picture: Pixels, colours: Sequence[Colour]) -> bytes:
    """A PNG file of palette indices; it holds pixels and palette and nothing else."""
    from PIL import Image

    ramp = [round(shade * 255 / LIGHTEST) for shade in range(LIGHTEST + 1) for _ in range(3)]
    image = Image.fromarray(picture)
    image.putpalette(ramp + [value for colour in colours for value in colour])
    stream = io.BytesIO()
    image.save(stream, format="PNG", compress_level=4)
    return stream.getvalue()
