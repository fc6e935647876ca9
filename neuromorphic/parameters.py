"""What the parameters of a node that was read from a file may be: numbers, and nothing that only looks like them.

`nir.read` hands on whatever stands under a parameter's name: text, groups, numbers of any type and shape.
"""

from dataclasses import fields

import nir
import numpy as np

from neuromorphic.errors import RefusedInput, shown
from neuromorphic.limits import check_shape
from neuromorphic.operations import Shape

SCALARS = frozenset({"groups", "start_dim", "end_dim"})
"""Parameters that are one integer."""

WORDS = frozenset({"padding"})
"""Parameters that may be a word; which one is the node's matter."""

SHAPES = frozenset({"input_type", "output_type", "metadata"})
"""Fields that are no parameters."""


def check_parameters(node: nir.NIRNode, where: str) -> None:
    """Refuse parameters that are not numbers, and numbers in place of one integer.

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


def _numbers(value: object) -> tuple[str | None, int]:
    """The kind of an array of numbers, as numpy's dtypes have it, and its size; None for anything else."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, OverflowError):
        return None, 0
    return (array.dtype.kind if array.dtype.kind in "fiub" else None), array.size
