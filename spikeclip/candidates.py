"""Names that compete for each image: the classes' own, foreign names beside them, or other names instead.  No torch."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spikeclip.class_names import normalised, same_class
from spikeclip.errors import RefusedInput
from spikeclip.label_sets import check_same_space
from spikeclip.labels import Cosine, LabelSet


@dataclass(frozen=True)
class Candidates:
    """Names that compete for each image.

    Attributes:
        kind: what they are to the data set.
        labels: the first `classes` stand for the data set's classes, in their order; the others are foreign.
        classes: of the data set.
    """

    kind: Literal["own", "expanded", "unseen"]
    labels: LabelSet
    classes: int

    def directions(self, cosine: Cosine) -> NDArray[np.float32]:
        """Unit vectors to compare embeddings with: float32 `[candidates, D]`.

        `centred` takes the mean of the vectors that stand for the classes out of all of them.
        """
        if cosine == "plain":
            return self.labels.unit()
        own = LabelSet(self.labels.names[: self.classes], self.labels.vectors[: self.classes])
        return self.labels.directions(around=own)


def own(labels: LabelSet) -> Candidates:
    """The classes' own names."""
    return Candidates("own", labels, len(labels.names))


def expanded(labels: LabelSet, foreign: LabelSet) -> Candidates:
    """The classes' own names and every other name of `foreign`.

    Raises:
        RefusedInput: the sets are of different spaces, or `foreign` has no other name.
    """
    check_same_space(labels, foreign)
    own_names = {normalised(name) for name in labels.names}
    new = [i for i, name in enumerate(foreign.names) if normalised(name) not in own_names]
    if not new:
        raise RefusedInput(f"label set {', '.join(foreign.names[:12])}: has no name that the classes don't have")
    names = (*labels.names, *(foreign.names[i] for i in new))
    vectors = np.concatenate([labels.unit(), foreign.unit()[new]])
    return Candidates("expanded", LabelSet(names, vectors, labels.clip or foreign.clip), len(labels.names))


def unseen(classes: tuple[str, ...], replacement: LabelSet) -> Candidates:
    """One name for each class instead of its own, by order.

    Raises:
        RefusedInput: there are not as many names as classes, or a name is one of the classes'.
    """
    if len(replacement.names) != len(classes):
        raise RefusedInput(
            f"label set {', '.join(replacement.names[:12])}: {len(replacement.names)} names replace the classes' by "
            f"order; expected {len(classes)}"
        )
    seen = [name for name in replacement.names if same_class(name, classes)]
    if seen:
        raise RefusedInput(f"label set {', '.join(replacement.names[:12])}: {seen[0]!r} is a class's own name")
    return Candidates("unseen", replacement, len(classes))
