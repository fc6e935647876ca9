"""Oxford's 102 flowers as torchvision keeps them: `jpg/image_00001.jpg`, `imagelabels.mat`, `setid.mat`."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spikeclip.data.image_set import Found, check_range, find_root
from spikeclip.data.official_names import official_names
from spikeclip.errors import RefusedInput, first_line

SPLITS = ("train", "val", "test")

SET_IDS = {"train": "trnid", "val": "valid", "test": "tstid"}
"""Arrays of setid.mat: 1,020, 1,020 and 6,149 images.  The published SpikeCLIP code has train and test swapped."""


def find_flowers102(directory: Path, split: str, limit: int | None) -> Found:
    """The images that `setid.mat` puts in the split, with labels from `imagelabels.mat`, where flowers count from 1.

    Args:
        directory: the folder with the three, or the one with `flowers-102` in it.
        split: train, val or test.
        limit: take only the first so many.

    Raises:
        RefusedInput: a file is missing or holds something else, or a label isn't from 1 to 102.
    """
    root = find_root(directory, "setid.mat", "flowers-102")
    numbers = _read_array(root / "setid.mat", SET_IDS[split])[:limit]
    every = _read_array(root / "imagelabels.mat", "labels")
    if numbers.min() < 1 or numbers.max() > len(every):
        raise RefusedInput(
            f"{root / 'setid.mat'}: {SET_IDS[split]} has image {numbers.max()}, first {numbers.min()}; "
            f"imagelabels.mat has labels of images 1 to {len(every)}"
        )
    names = official_names("flowers102")
    labels = check_range(every[numbers - 1] - 1, len(names), str(root / "imagelabels.mat"), "Flowers102")
    files = [root / "jpg" / f"image_{number:05d}.jpg" for number in numbers]
    return Found(files, tuple(f"jpg/{file.name}" for file in files), labels, names)


def _read_array(path: Path, key: str) -> NDArray[np.int64]:
    """The integers under `key` of a MATLAB file, in one row: int64 `[N]`, N at least 1."""
    from scipy.io import loadmat

    if not path.is_file():
        raise RefusedInput(f"{path}: not found; expected Flowers102 as torchvision keeps it, in flowers-102")
    try:
        found = loadmat(path, variable_names=[key]).get(key)
    except Exception as error:  # scipy raises whatever a damaged file leads it to
        raise RefusedInput(f"{path}: not a readable MATLAB file ({first_line(error)})") from error
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "iuf" or not found.size:
        raise RefusedInput(f"{path}: no numbers under {key!r}; expected Flowers102's")
    return np.asarray(found.ravel(), np.int64)
