"""Label sets: names with their vectors in CLIP's embedding space.  No torch.

A file holds any number of sets: vectors float `[classes, D]` under KEY, their names under `KEY__names`, and the CLIP
that made them under `KEY__clip`.  A file without `KEY__clip` says it by a KEY with `vitb16` or the like in it, or not
at all.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from neuromorphic.arrays import opened_npz, texts
from neuromorphic.errors import meant
from neuromorphic.files import atomic
from spikeclip.class_names import find_classes
from spikeclip.errors import RefusedInput

Cosine = Literal["centred", "plain"]
"""With what an embedding is compared: label vectors less the mean of the classes', or label vectors as they are."""


@dataclass(frozen=True)
class LabelSet:
    """Names and their embeddings.

    Attributes:
        names: one per class, in the order of the class numbers.
        vectors: float32 `[classes, D]`.
        clip: the CLIP whose space the vectors are of, as `ViT-B/16`; empty where the file doesn't say.
    """

    names: tuple[str, ...]
    vectors: NDArray[np.float32]
    clip: str = ""

    def unit(self) -> NDArray[np.float32]:
        """`v / |v|`: float32 `[classes, D]`."""
        return self.vectors / np.linalg.norm(self.vectors, axis=1, keepdims=True)

    def directions(self, around: "LabelSet | None" = None) -> NDArray[np.float32]:
        """`(v - mean v) / |v - mean v|` of the unit vectors v: float32 `[classes, D]`.

        CLIP's vectors for the classes of one data set point the same way (cosines of 0.8 to 0.9); what tells them
        apart is left after their mean is taken out.

        Args:
            around: the set whose mean is taken out; this one by default.  Names that join the candidates of another
                set are scored from that set's mean: another one would score the same direction differently.
        """
        unit = self.unit()
        centred = unit - (unit if around is None else around.unit()).mean(0)
        return (centred / np.linalg.norm(centred, axis=1, keepdims=True)).astype(np.float32)

    def compared(self, cosine: Cosine) -> NDArray[np.float32]:
        """The unit vectors that embeddings are compared with: float32 `[classes, D]`."""
        return self.directions() if cosine == "centred" else self.unit()

    def ordered(self, names: tuple[str, ...]) -> "LabelSet":
        """The vectors of `names`, in their order and spelling (`class_names.find_classes`).

        Raises:
            RefusedInput: a name has no vector here.
        """
        return LabelSet(names, self.vectors[find_classes(names, self.names, "labels", "the label set")], self.clip)


def load_labels(spec: str, first_of_repeated: bool = False) -> LabelSet:
    """The label set `FILE.npz:KEY`: vectors float `[classes, D]` under KEY, names under `KEY__names`.

    KEY may be left out where the file holds one set only.

    Args:
        spec: the file and the key.
        first_of_repeated: keep the first vector of a name that is there twice, as ImageNet's `crane` is, instead of
            refusing the set: for sets whose order means nothing.

    Raises:
        RefusedInput: the file or key is not there, or vectors and names don't match.
    """
    path_text, _, key = spec.partition(".npz:")
    path = Path(path_text + ".npz" if key else spec)
    if not path.is_file():
        raise RefusedInput(f"label embeddings {path}: no such file; expected FILE.npz or FILE.npz:KEY")
    with opened_npz(path) as file:
        keys = [k for k in file.files if f"{k}__names" in file.files]
        if not key and len(keys) == 1:
            key = keys[0]
        if key not in keys:
            raise RefusedInput(
                f"{path}: label set {key!r} not found; it has {', '.join(keys) or 'none'}{meant(key, keys)}"
            )
        vectors, names = file[key], texts(file[f"{key}__names"], f"{path}: {key}__names")
        clip = str(file[f"{key}__clip"]) if f"{key}__clip" in file.files else _architecture(key)
    fits = vectors.ndim == 2 and vectors.dtype.kind == "f" and len(vectors) == len(names)
    if not fits or not (np.abs(vectors) <= np.finfo(np.float32).max).all():
        raise RefusedInput(
            f"{path}: label set {key!r} has vectors {vectors.dtype} {list(vectors.shape)} for {len(names)} names; "
            "expected finite floats [classes, D], no larger than float32 holds"
        )
    if first_of_repeated:
        first = [i for i, name in enumerate(names) if names.index(name) == i]
        vectors, names = vectors[first], tuple(names[i] for i in first)
    _check_different(f"{path}: label set {key!r}", names, vectors)
    return LabelSet(names, vectors.astype(np.float32), clip)


def save_labels(labels: LabelSet, path: Path, key: str) -> None:
    """Write `labels` to `path` under `key`, alone in the file, whole or not at all.

    Raises:
        RefusedInput: the set is one that `load_labels` refuses.
    """
    _check_different(f"{path}: label set {key!r}", labels.names, labels.vectors)
    arrays = {key: labels.vectors, f"{key}__names": np.array(labels.names)}
    if labels.clip:
        arrays[f"{key}__clip"] = np.array(labels.clip)
    with atomic(path) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)


def different_spaces(clip: str, other: str) -> bool:
    """Whether two names of CLIPs say that their embeddings are not to be mixed.

    `openai/clip-vit-base-patch16` and `ViT-B/16` name the same architecture and are taken for the same; two names of
    one architecture from different hands are left to who gives them.  An empty name says nothing.
    """
    if not clip or not other:
        return False
    architectures = _architecture(clip), _architecture(other)
    return architectures[0] != architectures[1] if all(architectures) else clip != other


def _check_different(what: str, names: tuple[str, ...], vectors: NDArray[np.floating]) -> None:
    if len(names) < 2 or len(set(names)) < len(names):
        raise RefusedInput(f"{what} has the names {', '.join(names[:12])}; expected two or more, all different")
    if not vectors.any(axis=1).all():
        zero = names[int(vectors.any(axis=1).argmin())]
        raise RefusedInput(f"{what} has a vector that is zero, of {zero!r}; expected different directions")
    _, first, group = np.unique(vectors, axis=0, return_index=True, return_inverse=True)
    again = [i for i, one in enumerate(first[group.ravel()]) if one != i]
    if again:
        twin = names[first[group.ravel()[again[0]]]]
        raise RefusedInput(
            f"{what} has one vector twice, of {twin!r} and {names[again[0]]!r}; expected different directions"
        )


def _architecture(name: str) -> str:
    """`ViT-B/16` in any of its spellings: `vitb16`, `ViT-B-16`, `clip-vit-base-patch16`; empty where there is none."""
    found = re.search(r"vit[-_]?(b|l|h|base|large|huge)[-_/]?(?:patch)?[-_]?(\d+)", name.lower())
    return f"ViT-{found[1][0].upper()}/{found[2]}" if found else ""
