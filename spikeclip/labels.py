"""Label sets: names with their vectors in CLIP's embedding space.  No torch."""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spikeclip.errors import RefusedInput


@dataclass(frozen=True)
class LabelSet:
    """Names and their embeddings.

    Attributes:
        names: one per class, in the order of the class numbers.
        vectors: float32 `[classes, D]`.
    """

    names: tuple[str, ...]
    vectors: NDArray[np.float32]

    def unit(self) -> NDArray[np.float32]:
        """`v / |v|`: float32 `[classes, D]`."""
        return self.vectors / np.linalg.norm(self.vectors, axis=1, keepdims=True)

    def directions(self) -> NDArray[np.float32]:
        """`(v - mean v) / |v - mean v|` of the unit vectors v: float32 `[classes, D]`.

        CLIP's vectors for the classes of one data set point the same way (cosines of 0.8 to 0.9); what tells them
        apart is left after their mean is taken out.
        """
        unit = self.unit()
        centred = unit - unit.mean(0)
        return (centred / np.linalg.norm(centred, axis=1, keepdims=True)).astype(np.float32)

    def ordered(self, names: tuple[str, ...]) -> "LabelSet":
        """The same set in the order of `names`.

        Raises:
            RefusedInput: a name has no vector here.
        """
        missing = [name for name in names if name not in self.names]
        if missing:
            raise RefusedInput(f"label embeddings have no {missing[0]!r}; they have {', '.join(self.names[:12])}")
        return LabelSet(names, self.vectors[[self.names.index(name) for name in names]])


def load_labels(spec: str) -> LabelSet:
    """The label set `FILE.npz:KEY`: vectors float `[classes, D]` under KEY, names under `KEY__names`.

    KEY may be left out where the file holds one set only.

    Raises:
        RefusedInput: the file or key is not there, or vectors and names don't match.
    """
    path_text, _, key = spec.partition(".npz:")
    path = Path(path_text + ".npz" if key else spec)
    if not path.is_file():
        raise RefusedInput(f"label embeddings {path}: no such file; expected FILE.npz or FILE.npz:KEY")
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            keys = [k for k in file.files if f"{k}__names" in file.files]
            if not key and len(keys) == 1:
                key = keys[0]
            if key not in keys:
                raise RefusedInput(f"{path}: label set {key!r} not found; it has {', '.join(keys) or 'none'}")
            vectors, names = file[key], tuple(str(n) for n in file[f"{key}__names"])
    except RefusedInput:
        raise
    except (OSError, EOFError, TypeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise RefusedInput(f"{path}: not a readable .npz file ({error})") from error
    if vectors.ndim != 2 or vectors.dtype.kind != "f" or len(vectors) != len(names) or not np.isfinite(vectors).all():
        raise RefusedInput(
            f"{path}: label set {key!r} has vectors {vectors.dtype} {list(vectors.shape)} for {len(names)} names; "
            "expected finite floats [classes, D]"
        )
    if len(names) < 2 or len(set(names)) < len(names):
        raise RefusedInput(
            f"{path}: label set {key!r} has the names {', '.join(names[:12])}; expected two or more, all different"
        )
    if not vectors.any(axis=1).all() or len(np.unique(vectors, axis=0)) < len(names):
        raise RefusedInput(
            f"{path}: label set {key!r} has a vector that is zero or twice there; expected different directions"
        )
    return LabelSet(names, vectors.astype(np.float32))
