"""Scores of labelled images: the right class of each image, the accuracy, and each image's best five classes.

Labels of images number the classes of their source, scores number those of the model.  Every command matches the two
here, by name.  No torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spikeclip.class_names import class_numbers, find_classes, same_list
from spikeclip.errors import RefusedInput

TOP = 5
"""Classes that are listed for each image."""


class Labelled(Protocol):
    """Labelled things with names: images (`data.ImageSet`), or frames.

    Attributes:
        names: of each image.
        labels: int64 `[N]`, or None.
        label_names: names that the labels index, or none.
        source: named in sentences.
    """

    @property
    def names(self) -> Sequence[str]: ...
    @property
    def labels(self) -> NDArray[np.int64] | None: ...
    @property
    def label_names(self) -> Sequence[str]: ...
    @property
    def source(self) -> str: ...


@dataclass(frozen=True)
class Truth:
    """The right class of each image, in the model's numbering.

    Attributes:
        classes: int64 `[N]`; None where the images have no labels.
        assumed: what was taken for granted, in sentences.
        label_names: the images' own names of these classes, where the model has none and they are more than numbers.
    """

    classes: NDArray[np.int64] | None
    assumed: tuple[str, ...] = ()
    label_names: tuple[str, ...] = ()

    def accuracy(self, predictions: NDArray[np.integer]) -> float | None:
        """The share of `predictions` `[N]` that are right; None where the images have no labels."""
        return None if self.classes is None else float((predictions == self.classes).mean())


def find_truth(images: Labelled, names: Sequence[str], outputs: int, model: str) -> Truth:
    """The labels of `images` as the model's classes: by name, or by number where one of the two has no names.

    Args:
        images: with labels or without.
        names: of the model's classes, one per output; or none.
        outputs: how many scores the model has.
        model: named in sentences.

    Raises:
        RefusedInput: an image is of a class that the model doesn't have.
    """
    labels = images.labels
    if labels is None:
        return Truth(None)
    source = f"images {images.source!r}"
    if names and same_list(images.label_names, names):
        return Truth(labels)
    if names and images.label_names:
        shown = np.unique(labels)  # a class without an image needs no score
        numbers = find_classes([images.label_names[i] for i in shown], names, source, model)
        return Truth(numbers[np.searchsorted(shown, labels)])
    named_by = class_numbers(images.label_names)
    if named_by is not None:
        labels = named_by[labels]
    if labels.max() >= outputs:
        worst = int(labels.argmax())
        raise RefusedInput(
            f"{source}: label {labels[worst]} (image {images.names[worst]}); {model} has {outputs} classes, expected 0 "
            f"to {outputs - 1}"
        )
    known = () if names or named_by is not None else tuple(images.label_names)
    return Truth(labels, (assumption(images, names, model),), known)


def known_classes(
    images: Labelled, names: Sequence[str], outputs: int, model: str
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The right class of each image, int64 `[N]`, and what was assumed: `find_truth` for images that have labels.

    Raises:
        RefusedInput: as of `find_truth`, or the images have no labels.
    """
    truth = find_truth(images, names, outputs, model)
    if truth.classes is None:
        raise RefusedInput(f"images {images.source!r}: no labels to measure accuracy with")
    return truth.classes, truth.assumed


def assumption(images: Labelled, names: Sequence[str], model: str) -> str:
    """The sentence that labels are taken for the model's class numbers, for want of names."""
    without = f"{model} has no names of classes" if images.label_names else "the images come without names of classes"
    if class_numbers(images.label_names) is not None:
        counted = "which the classes of the images are named by (torchvision's ImageFolder counts names as text)"
        return f"labels are taken to be the model's class numbers, {counted}: {without}"
    known = list(images.label_names or names)
    examples = ", ".join(f"{i} is {name}" for i, name in enumerate(known[:2]))
    return f"labels are taken to be the model's class numbers ({examples or '0, 1, ...'}): {without}"


def describe_images(
    files: Sequence[str], scores: NDArray[np.floating], names: Sequence[str], truth: Truth
) -> list[dict[str, Any]]:
    """Each image's file, label and best classes with their scores, JSON-compatible; names, or numbers without them.

    Args:
        files: one per image, with the folder of its class: `[N]`.
        scores: floats `[N, classes]`.
        names: of the model's classes, or none.
        truth: the right classes.
    """
    best = np.argsort(-scores, axis=1, kind="stable")[:, :TOP]  # of equal scores the earlier class is ahead

    def name(number: Any) -> str | int:
        return names[number] if names else int(number)

    return [
        {
            "file": file,
            "label": None if truth.classes is None else name(truth.classes[i]),
            "top5": [{"name": name(k), "score": float(scores[i, k])} for k in best[i]],
        }
        for i, file in enumerate(files)
    ]
