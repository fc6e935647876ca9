"""A data set: pictures with names, labels and the names of the classes."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeclip.errors import RefusedInput

LISTED = 8
"""Files that a sentence names; the others are counted."""


@dataclass(frozen=True)
class ImageSet:
    """Images of one size with what is known of them.

    Attributes:
        images: uint8 `[N, H, W, 3]`.
        names: one per image: its file with the folder of its class, as `cat/001.png`, or `test/17` for a record.
        labels: int64 `[N]`, or None where the source has none.
        label_names: names that the labels index; empty where the source has none.
        source: the SPEC that they came from.
        broken: files that can't be read and were left out.
        several: files that hold several pictures, of which the first was taken.
        others: files beside the images whose endings are not those of images, and which were left out.
    """

    images: NDArray[np.uint8]
    names: tuple[str, ...]
    labels: NDArray[np.int64] | None
    label_names: tuple[str, ...]
    source: str
    broken: tuple[str, ...] = ()
    several: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    @property
    def known_labels(self) -> NDArray[np.int64]:
        """The labels, to measure with.

        Raises:
            RefusedInput: there are none.
        """
        if self.labels is None:
            raise RefusedInput(f"images {self.source!r}: no labels to measure accuracy with")
        return self.labels

    @property
    def left_out(self) -> tuple[str, ...]:
        """Files, and pictures in files, that were left out, in sentences; empty where none were."""
        said = []
        if self.broken:
            files = (
                "1 file that is no readable image"
                if len(self.broken) == 1
                else f"{len(self.broken)} files that are no readable images"
            )
            said.append(f"left out {files}: {_listed(self.broken)}")
        if self.others:
            have = (
                "1 file that has no ending" if len(self.others) == 1 else f"{len(self.others)} files without an ending"
            )
            said.append(f"left out {have} of an image that is read: {_listed(self.others)}")
        if self.several:
            hold = "holds" if len(self.several) == 1 else "hold"
            said.append(f"{_listed(self.several)} {hold} several pictures; the first is taken")
        return tuple(said)

    def to_dict(self) -> dict[str, Any]:
        """The set as JSON documents name it: its file or kind, the number of images, and their hash."""
        return {"source": Path(self.source.split(":")[0]).name, "images": len(self), "sha256": self.sha256}

    @property
    def sha256(self) -> str:
        """Hash of pixels and labels, independent of where they were read from."""
        digest = hashlib.sha256(np.ascontiguousarray(self.images).tobytes())
        if self.labels is not None:
            digest.update(self.labels.astype("<i8").tobytes())
        return digest.hexdigest()


def _listed(files: tuple[str, ...]) -> str:
    """The first of some files, and how many more there are."""
    more = f" and {len(files) - LISTED} more" if len(files) > LISTED else ""
    return f"{', '.join(files[:LISTED])}{more}"


@dataclass(frozen=True)
class Found:
    """The pictures of a layout, as they lie on the disk: the attributes of `ImageSet`, with pictures of any size.

    Attributes:
        pictures: files, not read yet, or uint8 `[N, H, W, 3]`.
        names: one per picture.
        labels: int64 `[N]`, or None.
        label_names: names that the labels index, or none.
        others: files that are no pictures by their endings.
    """

    pictures: Sequence[Path] | NDArray[np.uint8]
    names: tuple[str, ...]
    labels: NDArray[np.int64] | None = None
    label_names: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


def check_range(labels: NDArray[np.integer], classes: int, where: str, whose: str) -> NDArray[np.int64]:
    """`labels` as int64, all of them from 0 to `classes - 1`.

    Args:
        labels: integers `[N]`.
        classes: how many there are.
        where: the file, named in the refusal.
        whose: what says how many classes there are.

    Raises:
        RefusedInput: a label is outside of them.
    """
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise RefusedInput(
            f"{where}: a label is {labels[wrong[0]]} (image {wrong[0]}); {whose} has {classes} names, expected 0 to "
            f"{classes - 1}"
        )
    return labels.astype(np.int64)


def find_root(directory: Path, needed: str, *folders: str) -> Path:
    """The first of `directory` and its `folders` that holds `needed`; `directory` where none does.

    Args:
        directory: what the SPEC names.
        needed: a file or folder that the data set has.
        folders: what torchvision or the data set's archive call the folder.
    """
    for root in (directory, *(directory / folder for folder in folders)):
        if (root / needed).exists():
            return root
    return directory
