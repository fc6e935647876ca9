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
        RefusedInput: there are none, a class has none, or images lie beside folders of images.
    """
    classes = [p.name for p in _visible(root) if p.is_dir() and p.name not in without]
    folders = [root / c for c in classes] if classes else [root]
    found = [[p for p in _visible(folder) if _is_image(p)] for folder in folders]
    for folder, images in zip(folders, found, strict=True):
        _check_apart(folder, images)
    _check_apart(root, [p for p in _visible(root) if p.is_file() and _is_image(p)], classes)
    empty = [f for f, group in zip(folders, found, strict=True) if not group]
    if classes and empty and len(empty) < len(folders):
        raise RefusedInput(f"{empty[0]}: no images in this class folder; expected {', '.join(sorted(IMAGE_SUFFIXES))}")
    files = [p for group in found for p in group][:limit]
    if not files:
        raise RefusedInput(f"{root}: no images in this folder; expected {', '.join(sorted(IMAGE_SUFFIXES))}")
    others = [p for folder in folders for p in _visible(folder) if p.is_file() and not _is_image(p)]
    names, left = (tuple(p.relative_to(root).as_posix() for p in group) for group in (files, others))
    if not classes:
        return Found(files, names, others=left)
    labels = [i for i, group in enumerate(found) for _ in group][:limit]
    return Found(files, names, np.asarray(labels, np.int64), tuple(classes), left)


def _visible(folder: Path) -> list[Path]:
    """The entries of a folder, by name, without those that systems hide or add: `.DS_Store`, `._1.png`, `__MACOSX`."""
    return sorted(p for p in folder.iterdir() if not p.name.startswith(".") and p.name != "__MACOSX")


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES


def _check_apart(folder: Path, images: list[Path], inside: list[str] | None = None) -> None:
    """Refuse images beside folders: those `inside`, else those that hold images, which nobody would read.

    Raises:
        RefusedInput: there are both.
    """
    if not images:
        return
    if inside is None:
        inside = [p.name for p in _visible(folder) if p.is_dir() and any(map(_is_image, p.rglob("*")))]
    if inside:
        raise RefusedInput(f"{folder}: holds images and the folder {inside[0]}; expected images, or folders of images")
