"""From photographs to the arrays that an encoder reads: square, scaled, normalised.  No torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from spikeclip.errors import RefusedInput

Resize = Literal["antialiased", "clip-samples"]
"""How an image becomes a small square: its central square, scaled smoothly, or samples of CLIP's picture (`square`)."""

ANTIALIASED: Resize = "antialiased"
"""The meaning of settings that say nothing: files from before there was a choice."""

CLIP_SAMPLES: Resize = "clip-samples"
"""The published recipe's."""

CLIP_SIZE = 224
"""Pixels of the picture that CLIP's own preprocessing makes."""

LONGEST = 1024
"""Images that are so many times longer than wide are refused: CLIP's preprocessing enlarges all of them first."""


@dataclass(frozen=True)
class Preprocessing:
    """`x = (pixel - mean) / std` per channel, with pixels in 0..255 of a small square picture (`square`).

    The default puts pixels on multiples of 2^-6 in [-2, 2), so that an exported graph reads them without rounding.

    Attributes:
        image_size: height and width that images are resized to.
        mean: per channel, in pixel units.
        std: per channel, in pixel units; positive.
        resize: how images are resized.
    """

    image_size: int = 32
    mean: tuple[float, ...] = (128.0, 128.0, 128.0)
    std: tuple[float, ...] = (64.0, 64.0, 64.0)
    resize: Resize = ANTIALIASED

    def __post_init__(self) -> None:
        if self.image_size < 1 or not self.mean:
            raise RefusedInput(
                f"preprocessing has size {self.image_size} and mean {self.mean}; expected 1 or more of each"
            )
        if len(self.mean) != len(self.std):
            raise RefusedInput(f"preprocessing has {len(self.mean)} means and {len(self.std)} standard deviations")
        if not all(np.isfinite(self.mean)) or not all(np.isfinite(self.std)) or min(self.std) <= 0:
            raise RefusedInput(f"preprocessing has mean {self.mean} and std {self.std}; expected finite, std positive")

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Normalised images.

        Args:
            images: uint8 `[N, H, W, C]`, already `image_size` pixels wide and high.

        Returns:
            float32 `[N, C, H, W]`.
        """
        self.check(images.shape)
        x = (images - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)
        return np.ascontiguousarray(x.transpose(0, 3, 1, 2), dtype=np.float32)

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuse images `[N, H, W, C]` of another size.

        Raises:
            RefusedInput: they have other sides or channels.
        """
        expected = (self.image_size, self.image_size, len(self.mean))
        if shape[1:] != expected:
            raise RefusedInput(f"images have the shape {shape[1:]}; expected {expected}")

    def to_dict(self) -> dict[str, Any]:
        """The settings as a JSON-compatible dictionary, without the `resize` that older files have without a word."""
        settings = {**asdict(self), "mean": list(self.mean), "std": list(self.std)}
        if self.resize == ANTIALIASED:
            del settings["resize"]
        return settings

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The settings from `to_dict`'s dictionary.

        Raises:
            RefusedInput: a key is missing or unknown, or a value has the wrong type.
        """
        resize = stated_resize(values, "preprocessing")
        try:
            return cls(
                image_size=int(values["image_size"]),
                mean=tuple(float(m) for m in values["mean"]),
                std=tuple(float(s) for s in values["std"]),
                resize=resize,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RefusedInput(f"preprocessing {values!r} is not understood: {error!r}") from error


def stated_resize(settings: Mapping[str, Any] | None, source: str) -> Resize:
    """The way in which the images of a checkpoint or a graph are resized.

    Args:
        settings: `Preprocessing.to_dict`'s, as files carry it; None and an absent key mean `antialiased`.
        source: named in the refusal.

    Raises:
        RefusedInput: it is none that is known here.
    """
    stated = (settings or {}).get("resize", ANTIALIASED)
    for known in (ANTIALIASED, CLIP_SAMPLES):
        if stated == known:
            return known
    raise RefusedInput(
        f"{source}: its images are resized as {repr(stated)[:80]}; expected {ANTIALIASED} or {CLIP_SAMPLES}"
    )


def square(image: Image.Image, size: int, resize: Resize = CLIP_SAMPLES) -> NDArray[np.uint8]:
    """The central square of an image, `size` pixels wide: uint8 `[size, size, 3]`.

    `antialiased`: the largest central square is resized at once, bicubically and without aliasing.

    `clip-samples`: the picture of the published recipe (val.py and alignment.py of Lvchangze/SpikeCLIP) is made in two
    steps: CLIP's preprocessing (the shorter side becomes 224 pixels, bicubic; the central 224 × 224 are kept), and
    `F.interpolate(picture, size, mode="bilinear", align_corners=False)`, which doesn't smooth: at 32 pixels it is the
    middle pixel of each 7 × 7.  At sizes whose samples fall between pixels, levels are rounded to whole ones.

    Args:
        image: of any size and mode whose levels are 8 bits (`data.pixels.to_8_bits`).
        size: height and width of the result in pixels.
        resize: which of the two.

    Raises:
        RefusedInput: the image is a line, too long to be enlarged for the published recipe.
    """
    rgb = ImageOps.exif_transpose(image).convert("RGB")  # cameras store how they were held
    return _antialiased(rgb, size) if resize == ANTIALIASED else _clip_samples(rgb, size)


def _antialiased(rgb: Image.Image, size: int) -> NDArray[np.uint8]:
    side = min(rgb.size)
    left, top = (rgb.width - side) // 2, (rgb.height - side) // 2
    crop = rgb.crop((left, top, left + side, top + side))
    if side != size:
        crop = crop.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(crop, dtype=np.uint8)


def _clip_samples(rgb: Image.Image, size: int) -> NDArray[np.uint8]:
    # Where 224 is an odd multiple of the size, bicubic enlarging keeps each pixel in the middle of its square.
    if rgb.size == (size, size) and CLIP_SIZE % size == 0 and CLIP_SIZE // size % 2:
        return np.asarray(rgb, dtype=np.uint8)
    short = min(rgb.size)
    if max(rgb.size) > LONGEST * short:
        raise RefusedInput(f"{rgb.width} x {rgb.height} pixels; expected at most {LONGEST} times as long as wide")
    width, height = (CLIP_SIZE * side // short for side in rgb.size)  # rounded down, as CLIP's resize does
    large = rgb.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - CLIP_SIZE) // 2, (height - CLIP_SIZE) // 2
    picture = np.asarray(large.crop((left, top, left + CLIP_SIZE, top + CLIP_SIZE)), np.float64)
    lower, upper, share = _bilinear(size)
    rows = picture[lower] * (1 - share)[:, None, None] + picture[upper] * share[:, None, None]
    both = rows[:, lower] * (1 - share)[:, None] + rows[:, upper] * share[:, None]
    return np.rint(both).astype(np.uint8)


def _bilinear(size: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """The places of `size` samples of 224 pixels: the pixel before, the pixel after, and the weight of the latter."""
    position = np.maximum((np.arange(size) + 0.5) * CLIP_SIZE / size - 0.5, 0)
    lower = position.astype(np.int64)
    return lower, np.minimum(lower + 1, CLIP_SIZE - 1), position - lower
