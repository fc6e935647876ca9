"""Images in an `.npz`: arrays `images`, and optionally `labels` and `label_names`."""

from pathlib import Path

import numpy as np

from neuromorphic.arrays import opened_npz
from spikeclip.data.image_set import Found, check_labels
from spikeclip.data.pixels import scaled
from spikeclip.errors import RefusedInput

MOST_CLASSES = 2**31
"""No data set has as many; beyond int64 a label would wrap."""


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
    if names.ndim != 1 or names.dtype.kind not in "SU":
        raise RefusedInput(f"{path}: label_names are {names.dtype} {list(names.shape)}; expected strings [classes]")
    label_names = tuple(names.astype(np.str_).tolist())
    if labels is not None:
        if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
            raise RefusedInput(
                f"{path}: labels are {labels.dtype} {list(labels.shape)}; expected integers [{len(images)}], none "
                "below 0"
            )
        if label_names:
            labels = check_labels(labels, len(label_names), str(path), "label_names")
        elif labels.max() > MOST_CLASSES:
            raise RefusedInput(f"{path}: a label is {labels.max()}; expected the numbers of classes")
        labels = labels[:limit].astype(np.int64)
    images = images[:limit]
    images = images if images.dtype == np.uint8 else scaled(images, 65535)
    return Found(images, tuple(f"{path.stem}/{i}" for i in range(len(images))), labels, label_names)
