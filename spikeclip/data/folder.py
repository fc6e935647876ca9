"""A folder of images, or of folders of images, each of which is a class."""

from pathlib import Path

import numpy as np

from spikeclip.data.image_set import Found
from spikeclip.errors import RefusedInput

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})


def find_in_folder(root: Path, limit: int | None, without: frozenset[str] = frozenset()) -> Found:
    """The images in `root`, in the order of their names; of folders of images, class after class.

    Args:
        root: the folder.
        limit: take only the first so many.
        without: sub-folders that are no classes.

    Raises:
        RefusedInput: there are none, a class has none, or images lie beside folders of classes.
    """
    classes = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    classes = [name for name in classes if name not in without]
    if classes and any(p.suffix.lower() in IMAGE_SUFFIXES for p in root.iterdir() if p.is_file()):
        raise RefusedInput(f"{root}: holds images and the folder {classes[0]}; expected images, or folders of images")
    folders = [root / c for c in classes] if classes else [root]
    found = [sorted(p for p in f.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES) for f in folders]
    empty = [f for f, group in zip(folders, found, strict=True) if not group]
    if classes and empty and len(empty) < len(folders):
        raise RefusedInput(f"{empty[0]}: no images in this class folder; expected {', '.join(sorted(IMAGE_SUFFIXES))}")
    files = [p for group in found for p in group][:limit]
    if not files:
        raise RefusedInput(f"{root}: no images in this folder; expected {', '.join(sorted(IMAGE_SUFFIXES))}")
    names = tuple(file.relative_to(root).as_posix() for file in files)
    if not classes:
        return Found(files, names)
    labels = [i for i, group in enumerate(found) for _ in group][:limit]
    return Found(files, names, np.asarray(labels, np.int64), tuple(classes))
