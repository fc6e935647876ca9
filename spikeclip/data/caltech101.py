"""Caltech's 101 objects: `101_ObjectCategories/ant/image_0001.jpg`, without the folder of backgrounds."""

from pathlib import Path

from spikeclip.data.folder import find_in_folder
from spikeclip.data.image_set import Found, find_root
from spikeclip.errors import RefusedInput

FOLDER = "101_ObjectCategories"

BACKGROUND = frozenset({"BACKGROUND_Google"})
"""No class, as torchvision has it.  The published SpikeCLIP code takes it for one; as a plain folder it is."""


def find_caltech101(directory: Path, split: str, limit: int | None) -> Found:
    """The images of every class, in alphabetic order; the data set has no official split.

    Args:
        directory: the folder of classes, the one that it lies in, or the one with `caltech101` in it.
        split: nothing.
        limit: take only the first so many.

    Raises:
        RefusedInput: there is no such folder, or a class has no images.
    """
    root = find_root(directory, FOLDER, "caltech101", "caltech-101") / FOLDER
    root = root if root.is_dir() else directory
    if not root.is_dir():
        raise RefusedInput(f"{root}: no such folder; expected Caltech101's {FOLDER}")
    found = find_in_folder(root, limit, without=BACKGROUND)
    if found.labels is None:
        raise RefusedInput(f"{root}: images without folders of classes; expected Caltech101's {FOLDER}")
    return found
