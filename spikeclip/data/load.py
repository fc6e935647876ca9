"""`load_images`: from a SPEC to square images of one size."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from neuromorphic.errors import meant
from spikeclip.data import cifar, flowers102, oxford_pets, stl10
from spikeclip.data.caltech101 import find_caltech101
from spikeclip.data.folder import find_in_folder
from spikeclip.data.image_set import Found, ImageSet
from spikeclip.data.npz import find_in_npz
from spikeclip.data.pixels import read_image
from spikeclip.errors import RefusedInput
from spikeclip.preprocess import ANTIALIASED, Resize, square

SAMPLES = (
    "astronaut.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "hubble_deep_field.jpg",
    "motorcycle_left.png",
    "rocket.jpg",
    "horse.png",
)
"""Photographs (and one drawing, the horse) in scikit-image's wheel; all are free to use (its data/README.txt)."""


@dataclass(frozen=True)
class _Layout:
    """A data set that a SPEC `KIND:DIR[:SPLIT]` names.

    Attributes:
        find: what reads it: of the folder, the split and the limit.
        splits: its parts; `test`, where there is one, is meant if none is named.
    """

    find: Callable[[Path, str, int | None], Found]
    splits: tuple[str, ...] = ()


LAYOUTS = {
    "cifar10": _Layout(cifar.find_cifar10, cifar.SPLITS),
    "cifar100": _Layout(cifar.find_cifar100, cifar.SPLITS),
    "stl10": _Layout(stl10.find_stl10, stl10.SPLITS),
    "flowers102": _Layout(flowers102.find_flowers102, flowers102.SPLITS),
    "pets": _Layout(oxford_pets.find_pets, oxford_pets.SPLITS),
    "caltech101": _Layout(find_caltech101),
}


EXPECTED = (
    "expected an .npz, an image, a folder of images or of class folders, 'samples', or an unpacked data set as "
    f"KIND:DIR[:SPLIT] with a KIND of {', '.join(LAYOUTS)}"
)
"""The forms of a SPEC, as refusals say them."""


def load_images(
    spec: str, size: int, limit: int | None = None, resize: Resize = ANTIALIASED, *, skip_broken: bool = False
) -> ImageSet:
    """The images that `spec` names, each made a square of `size` pixels (`preprocess.square`).

    Args:
        spec: see the package's docstring.
        size: height and width of the result in pixels.
        limit: take only the first so many.
        resize: how they are resized: as the preprocessing of what reads them says.
        skip_broken: leave out files that can't be read (`ImageSet.broken`), instead of refusing them.

    Raises:
        RefusedInput: nothing is there, nothing of it can be read, or a file is broken or of another layout.
    """
    if limit is not None and limit < 1:
        raise RefusedInput(f"limit is {limit}; expected a positive number of images")
    found = _find(spec, limit)
    if isinstance(found.pictures, np.ndarray):
        images = found.pictures
        if resize != ANTIALIASED or images.shape[1:3] != (size, size):
            images = np.stack([square(Image.fromarray(i), size, resize) for i in images])
        return ImageSet(images, found.names, found.labels, found.label_names, spec)
    kept: list[int] = []
    images, names, broken, several = [], [], [], []
    for i, (name, file) in enumerate(zip(found.names, found.pictures, strict=True)):
        try:
            image, more = read_image(file, size, resize)
        except RefusedInput:
            if not skip_broken:
                raise
            broken.append(name)
            continue
        kept.append(i)
        images.append(image)
        names.append(name)
        if more:
            several.append(name)
    if not kept:
        raise RefusedInput(f"images {spec!r}: none of {len(broken)} files is a readable image")
    labels = None if found.labels is None else found.labels[kept]
    return ImageSet(
        np.stack(images), tuple(names), labels, found.label_names, spec, tuple(broken), tuple(several), found.others
    )


def _find(spec: str, limit: int | None) -> Found:
    kind, _, rest = spec.partition(":")
    if kind in LAYOUTS and rest:
        layout = LAYOUTS[kind]
        return layout.find(*_split(rest, layout.splits, spec), limit)
    if spec == "samples":
        folder = resources.files("skimage") / "data"
        return Found([Path(str(folder / name)) for name in SAMPLES[:limit]], SAMPLES[:limit])
    path = Path(spec)
    if path.is_dir():
        return find_in_folder(path, limit)
    if not path.is_file():
        raise RefusedInput(f"images {spec!r}: no such file or folder; {EXPECTED}{meant(kind, (*LAYOUTS, 'samples'))}")
    if path.suffix.lower() == ".npz":
        return find_in_npz(path, limit)
    try:
        Image.open(path).close()
    except UnidentifiedImageError as error:
        raise RefusedInput(f"images {spec!r}: the file is no image that Pillow knows; {EXPECTED}") from error
    except Exception:  # a damaged image, which whoever reads it names
        pass
    return Found([path], (path.name,))


def _split(rest: str, splits: tuple[str, ...], spec: str) -> tuple[Path, str]:
    """Folder and split of `DIR[:SPLIT]`.

    Raises:
        RefusedInput: what follows a folder and a colon is no split.
    """
    directory, colon, split = rest.rpartition(":")
    if colon and split in splits:
        return Path(directory), split
    if colon and not Path(rest).exists() and Path(directory).is_dir():
        raise RefusedInput(f"images {spec!r}: split {split!r}; expected {' or '.join(splits) or 'none'}")
    return Path(rest), "test" if "test" in splits else ""
