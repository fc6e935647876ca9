"""From photographs to the arrays that an encoder reads: square, scaled, normalised.  No torch."""

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from spikeclip.errors import RefusedInput


@dataclass(frozen=True)
class Preprocessing:
    """`x = (pixel - mean) / std` per channel, with pixels in 0..255, after a centre crop and a bicubic resize.

    The default puts pixels on multiples of 2^-6 in [-2, 2), so that an exported graph reads them without rounding.

    Attributes:
        image_size: height and width that images are resized to.
        mean: per channel, in pixel units.
        std: per channel, in pixel units; positive.
    """

    image_size: int = 32
    mean: tuple[float, ...] = (128.0, 128.0, 128.0)
    std: tuple[float, ...] = (64.0, 64.0, 64.0)

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
        if images.shape[1:] != (self.image_size, self.image_size, len(self.mean)):
            raise RefusedInput(
                f"images have the shape {images.shape[1:]}; "
                f"expected {(self.image_size, self.image_size, len(self.mean))}"
            )
        x = (images - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)
        return np.ascontiguousarray(x.transpose(0, 3, 1, 2), dtype=np.float32)

    def to_dict(self) -> dict[str, Any]:
        """The settings as a JSON-compatible dictionary."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The settings from `to_dict`'s dictionary.

        Raises:
            RefusedInput: a key is missing or unknown, or a value has the wrong type.
        """
        try:
            return cls(
                image_size=int(values["image_size"]),
                mean=tuple(float(m) for m in values["mean"]),
                std=tuple(float(s) for s in values["std"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RefusedInput(f"preprocessing {values!r} is not understood: {error!r}") from error


def square(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """The image's largest central square, resized (bicubic, antialiased) to `size`: uint8 `[size, size, 3]`."""
    rgb = ImageOps.exif_transpose(image).convert("RGB")  # cameras store how they were held
    side = min(rgb.size)
    left, top = (rgb.width - side) // 2, (rgb.height - side) // 2
    crop = rgb.crop((left, top, left + side, top + side))
    if side != size:
        crop = crop.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(crop, dtype=np.uint8)
