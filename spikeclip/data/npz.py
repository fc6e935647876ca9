"""Images in an `.npz`: arrays `images`, and optionally `labels` and `label_names`."""

from pathlib import Path

import numpy as np

from neuromorphic.arrays import class_labels, opened_npz, texts
from spikeclip.data.image_set import Found
from spikeclip.data.pixels import scaled
from spikeclip.errors import RefusedInput


def find_in_npz(path: Path, limit: int | None) -> Found:
    """The arrays of the file: images uint8, or uint16 of which 65535 is white, `[N, H, W, 3]`; labels integers `[N]`.

    Raises:
        RefusedInput: it isn't readable, or holds arrays of other types or shapes, or labels beyond its names.
    """
    with opened_npz(path) as file:
        if "images" not in file:
            raise RefusedInput(f"{path}: has {', '.join(file.files) or 'nothing'}; expected an array 'images'")
        images = file["images"]
        labels = file.get("labels")
        names = file.get("label_names", np.zeros(0, np.str_))
    if images.ndim != 4 or images.shape[-1] != 3 or not images.size or images.dtype not in (np.uint8, np.uint16):
        raise RefusedInput(
            f"{path}: images are {images.dtype} {list(images.shape)}; expected uint8 [N, H, W, 3], or uint16 of which "
            "65535 is white"
        )
    label_names = texts(names, f"{path}: label_names")
    if labels is not None:
        labels = class_labels(labels, len(images), label_names, path, "label_names")[:limit]
    images = images[:limit]
    images = images if images.dtype == np.uint8 else scaled(images, 65535)
    return Found(images, tuple(f"{path.stem}/{i}" for i in range(len(images))), labels, label_names)
