"""The Oxford-IIIT pets as torchvision keeps them: `images/Birman_17.jpg`, and lists of them in `annotations/`."""

from pathlib import Path

import numpy as np

from spikeclip.class_names import read_names
from spikeclip.data.image_set import Found, find_root
from spikeclip.errors import RefusedInput

SPLITS = ("trainval", "test")


def find_pets(directory: Path, split: str, limit: int | None) -> Found:
    """The images that `annotations/SPLIT.txt` lists, a breed being what stands before the number: `Maine_Coon_39`.

    A line is `IMAGE CLASS SPECIES BREED`, with classes from 1; their names are the images', as in torchvision.

    Args:
        directory: the folder with `images` and `annotations`, or the one with `oxford-iiit-pet` in it.
        split: trainval or test.
        limit: take only the first so many.

    Raises:
        RefusedInput: a list is missing or holds other lines, or a class has two names or none.
    """
    root = find_root(directory, "annotations", "oxford-iiit-pet")
    listed = root / "annotations" / f"{split}.txt"
    if not listed.is_file():
        raise RefusedInput(f"{listed}: not found; expected the Oxford pets as torchvision keeps them")
    names: dict[int, str] = {}
    images, labels = [], []
    for line in read_names(listed):
        if line.startswith("#"):
            continue
        image, label, *_ = [*line.split(), ""]
        breed = image.rpartition("_")[0].replace("_", " ")
        if not breed or not label.isdecimal() or int(label) < 1:
            raise RefusedInput(f"{listed}: {line[:80]!r}; expected lines as 'Maine_Coon_39 21 1 9'")
        number = int(label) - 1
        if names.setdefault(number, breed) != breed:
            raise RefusedInput(f"{listed}: class {label} is {names[number]} and {breed}; expected one name")
        images.append(image)
        labels.append(number)
    if not images or sorted(names) != list(range(len(names))):
        raise RefusedInput(f"{listed}: images of the classes {sorted(n + 1 for n in names)}; expected 1, 2, 3, ...")
    files = [root / "images" / f"{image}.jpg" for image in images[:limit]]
    classes = tuple(names[number] for number in sorted(names))
    return Found(files, tuple(f"images/{file.name}" for file in files), np.asarray(labels, np.int64)[:limit], classes)
