"""Checks that the parameters of a node from a file are numbers.

`nir.read` passes on anything that a file has under a parameter's name: text, groups, numbers of any type and shape.
"""

from collections.abc import Iterable
from dataclasses import fields

import nir
import numpy as np

from neuromorphic.errors import RefusedInput, shown
from neuromorphic.ops import Shape
from neuromorphic.reading import limits
from neuromorphic.reading.limits import check_shape

SCALARS = frozenset({"groups", "start_dim", "end_dim"})
"""Parameters that are one integer."""

WORDS = frozenset({"padding"})
"""Parameters that may be a word; the operation checks which."""

_DIMENSIONS = {
    **dict.fromkeys((nir.Affine, nir.Linear), 1),
    nir.Conv1d: 2,
    **dict.fromkeys((nir.Conv2d, nir.SumPool2d, nir.AvgPool2d), 3),
}
"""Dimensions of a node's input, for types whose input always has the same number."""

SHAPES = frozenset({"input_type", "output_type", "metadata"})
"""Fields that are no parameters."""


def check_parameters(node: nir.NIRNode, where: str) -> None:
    """Refuse parameters that are not numbers or too many, and such as are not one integer where that is expected.

    Raises:
        RefusedInput: by the parameter's name.
    """
    for key in (field.name for field in fields(node) if field.name not in SHAPES):
        value = getattr(node, key)
        if value is None or (isinstance(value, str) and key in WORDS):
            continue
        kind, size = _numbers(value)
        if kind is None:
            raise RefusedInput(f"{where}: {key} is {shown(value)}; expected numbers")
        if size > limits.MAX_ELEMENTS:
            raise RefusedInput(f"{where}: {key} has {size} elements; expected at most {limits.MAX_ELEMENTS}")
        if key in SCALARS and (kind not in "iu" or size != 1):
            raise RefusedInput(f"{where}: {key} is {shown(value)}; expected one integer")


def declared_shape(value: object, where: str) -> Shape:
    """The shape that an input or output declares.

    Raises:
        RefusedInput: it is not a list of positive integers, or too large.
    """
    kind, size = _numbers(value)
    if kind is None or kind not in "iu" or np.ndim(value) > 1 or not size:  # type: ignore[arg-type]
        raise RefusedInput(f"{where} declares the shape {shown(value)}; expected positive integers")
    shape = tuple(int(n) for n in np.atleast_1d(np.asarray(value)))
    check_shape(shape, where)
    return shape


def without_batch(declared: Shape, readers: Iterable[nir.NIRNode], outputs: Iterable[object]) -> Shape:
    """The shape that an input declares, without axes in front that none of its readers has.

    Rockpool declares axes for images and time, from its sample data: `[1, C]` where a matrix reads `[C]`.  snnTorch's
    files of sequences declare `[T, C]`; no output has the axis T then, as it would if the matrix did read `[T, C]`.
    """
    nodes = list(readers)
    takes = {_DIMENSIONS.get(type(node)) for node in nodes}
    most = takes.pop() if len(takes) == 1 else None
    extra = 0 if most is None else len(declared) - most
    ones = declared[:extra] == (1,) * extra
    rows = {np.shape(node.weight)[-1:] for node in nodes if isinstance(node, nir.Affine | nir.Linear)}
    leave = [tuple(np.atleast_1d(np.asarray(shape))[:extra].tolist()) for shape in outputs]
    of_time = rows == {declared[extra:]} and declared[:extra] not in leave
    return declared[extra:] if extra > 0 and (ones or of_time) else declared


def _numbers(value: object) -> tuple[str | None, int]:
    """The kind of an array of numbers, as numpy's dtypes have it, and its size; None for anything else."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, OverflowError):
        return None, 0
    return (array.dtype.kind if array.dtype.kind in "fiub" else None), array.size
