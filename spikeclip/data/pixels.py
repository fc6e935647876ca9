"""From an image file of any kind to 8 bits per channel: scaled where the range is known, refused where it is not."""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from spikeclip.errors import RefusedInput, first_line
from spikeclip.preprocess import Resize, square

MAX_PIXELS = 64 * 1024 * 1024
"""Images beyond this are refused before they are decoded."""

BIT_DEPTHS = 258
PHOTOMETRIC = 262
PLANES = 284
"""TIFF's tags BitsPerSample, PhotometricInterpretation (0 says that white is 0), PlanarConfiguration (2: by planes)."""

PILES = (".gif", ".png", ".tif", ".tiff", ".webp")
"""Endings of files that may hold several pictures; of a JPEG the others show the same, as maps of depth."""

UNKNOWN_RANGE = {"I": "32-bit integers", "F": "32-bit floats"}
"""Modes of Pillow's whose values may be anything: a file doesn't say which of them is white."""

LOWER_BYTES = {
    "LA;16B": ("RGBA", [1, 1, 1]),  # Pillow has no name for these, and reads (L, A) in bytes as four channels
    **{
        f"{colours};16{order}": (f"{colours};16{other}", [0, 1, 2])
        for colours in ("RGB", "RGBA", "RGBX")
        for order, other in (("B", "L"), ("L", "B"), ("N", "B" if sys.byteorder == "little" else "L"))
    },
}
"""Pillow decodes 16 bits by their upper bytes: by raw mode, the one that decodes the others, and where R, G, B land."""


def read_image(file: Path, size: int, resize: Resize) -> tuple[NDArray[np.uint8], bool]:
    """The square of an image file, uint8 `[size, size, 3]`, and whether the file holds several pictures.

    Of a film or a pile of pictures the first one is read.

    Raises:
        RefusedInput: it isn't readable, has too many pixels, or its levels have no known range.
    """
    if not file.is_file():
        raise RefusedInput(f"{file}: is no file that can be read; expected an image")
    try:
        with Image.open(file) as image:
            if image.width * image.height > MAX_PIXELS:
                raise RefusedInput(f"{file}: {image.width} x {image.height} pixels; expected at most {MAX_PIXELS}")
            several = file.suffix.lower() in PILES and getattr(image, "n_frames", 1) > 1
            return square(to_8_bits(image, file), size, resize), several
    except RefusedInput as error:
        raise error if str(file) in str(error) else RefusedInput(f"{file}: {error}") from error
    except Exception as error:  # Pillow raises whatever a damaged file leads it to: OSError, ValueError, EOFError, ...
        raise RefusedInput(f"{file}: not a readable image ({first_line(error)})") from error


def to_8_bits(image: Image.Image, file: Path) -> Image.Image:
    """`round(255 v / white)` of an image with more than 8 bits per channel; any other image as it is.

    White is 65535 of 16 bits.  Pillow itself would clip grey levels at 255 where they are made RGB, and keep the upper
    byte of colours.

    Args:
        image: as Pillow opened it.
        file: that it opened.

    Raises:
        RefusedInput: the levels have no known range.
    """
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(BIT_DEPTHS, (16 if image.mode.startswith("I;16") else 8,))
    if tags.get(PLANES) == 2 and len(bits) > 1 and max(bits) > 8:
        # Pillow 13 takes each plane's bytes for pixels of 8 bits, and shows noise.
        raise RefusedInput(f"{file}: {max(bits)} bits per channel, plane after plane; expected pixel after pixel")
    if image.mode.startswith("I;16"):
        white = 2 ** bits[0] - 1  # TIFF has 12 bits too
        levels = _upright(image)
        return Image.fromarray(scaled(white - levels if tags.get(PHOTOMETRIC) == 0 else levels, white))
    if image.mode == "I" and image.format == "PPM":
        return Image.fromarray(scaled(_upright(image), 65535))  # Pillow scales a PGM's own range to this one
    if image.mode in UNKNOWN_RANGE:
        raise RefusedInput(
            f"{file}: its levels are {UNKNOWN_RANGE[image.mode]}, and the file doesn't say which of them is white; "
            "expected 8 or 16 bits per channel"
        )
    if isinstance(image, ImageFile.ImageFile) and image.tile and _raw_mode(image.tile[0]) in LOWER_BYTES:
        return _deep_colours(image, file)
    return image


def _deep_colours(image: ImageFile.ImageFile, file: Path) -> Image.Image:
    """`round(255 v / 65535)` of R, G and B of 16 bits: the file is decoded once more, for the lower bytes."""
    lower, channels = LOWER_BYTES[_raw_mode(image.tile[0])]
    with Image.open(file) as again:
        again.tile = [
            tile._replace(args=lower if isinstance(tile.args, str) else (lower, *(tile.args or ())[1:]))
            for tile in again.tile
        ]
        low = _upright(again)[..., channels]
    return Image.fromarray(scaled(_upright(image)[..., :3] * 256 + low, 65535))


def _raw_mode(tile: ImageFile._Tile) -> str:
    """The byte layout of a part of the file."""
    return tile.args if isinstance(tile.args, str) else str((tile.args or ("",))[0])


def _upright(image: Image.Image) -> NDArray[np.int64]:
    """Levels as the camera was held: int64 `[H, W]` or `[H, W, channels]`."""
    return np.asarray(ImageOps.exif_transpose(image)).astype(np.int64)


def scaled(levels: NDArray[np.integer], white: int) -> NDArray[np.uint8]:
    """`round(255 v / white)`, halves upwards: uint8 of the same shape, of levels v from 0 to `white`."""
    return ((levels.astype(np.int64) * 510 + white) // (2 * white)).astype(np.uint8)
