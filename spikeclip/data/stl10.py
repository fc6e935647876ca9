"""STL-10's binary files: planes of 96 × 96 pixels, column after column, and labels from 1 to 10 beside them."""

from pathlib import Path

import numpy as np

from spikeclip.class_names import read_names
from spikeclip.data.image_set import Found, check_range, find_root
from spikeclip.data.official_names import official_names
from spikeclip.errors import RefusedInput

SPLITS = ("train", "test", "unlabeled")

SIDE = 96
RECORD = 3 * SIDE * SIDE


def find_stl10(directory: Path, split: str, limit: int | None) -> Found:
    """The images of `SPLIT_X.bin` with the labels of `SPLIT_y.bin`, in `directory` or its `stl10_binary`.

    Raises:
        RefusedInput: a file is missing, holds no whole number of images, or another number of labels, or a label isn't
            from 1 to 10.
    """
    root = find_root(directory, f"{split}_X.bin", "stl10_binary")
    file = root / f"{split}_X.bin"
    if not file.is_file():
        raise RefusedInput(f"{file}: not found; expected STL-10's binary files, as in stl10_binary.tar.gz")
    length = file.stat().st_size
    if not length or length % RECORD:
        raise RefusedInput(f"{file}: {length} bytes; expected a multiple of {RECORD}, the size of an image")
    images = length // RECORD
    count = images if limit is None else min(images, limit)
    planes = np.fromfile(file, np.uint8, count * RECORD).reshape(-1, 3, SIDE, SIDE)
    pictures = planes.transpose(0, 3, 2, 1)  # [image, channel, column, row] on the disk
    names = tuple(f"{split}/{i}" for i in range(count))
    if split == "unlabeled":
        return Found(pictures, names)
    labels_file = root / f"{split}_y.bin"
    if not labels_file.is_file():
        raise RefusedInput(f"{labels_file}: not found; expected the labels of {file.name}")
    numbers = np.fromfile(labels_file, np.uint8).astype(np.int64)
    if len(numbers) != images:
        raise RefusedInput(f"{labels_file}: {len(numbers)} labels; expected one for each of {images} images")
    names_file = root / "class_names.txt"
    classes = read_names(names_file) if names_file.is_file() else official_names("stl10")
    if not numbers.all():
        raise RefusedInput(f"{labels_file}: a label is 0; expected 1 to {len(classes)}, as STL-10 counts")
    return Found(pictures, names, check_range(numbers - 1, len(classes), str(labels_file), "STL-10")[:count], classes)
