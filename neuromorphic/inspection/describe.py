"""Describes operations in words and in numbers, from their fields alone, so that new operations need nothing here."""

from dataclasses import fields
from typing import Any

import numpy as np

from neuromorphic.ops import Operation, extensions
from neuromorphic.ops.windows import Windowed

EXTENSIONS = frozenset(extensions.EXTENSIONS)

SILENT = {
    **dict.fromkeys(("stride", "dilation", "groups", "divisor", "gain"), 1),
    **dict.fromkeys(("padding", "beyond", "leak", "reset", "subtracts"), 0),
}
"""Default values, which are left out, by the name of the field."""


def is_extension(operation: Operation) -> bool:
    """Whether an operation is read from an extension node (`ops.extensions`)."""
    return not EXTENSIONS.isdisjoint(operation.nir_types)


def numbers(operation: Operation) -> dict[str, Any]:
    """The fields of an operation, JSON-compatible: arrays as `{"shape", "least", "greatest"}`, pairs as lists."""
    return {field.name: _number(getattr(operation, field.name)) for field in fields(operation)}


def _number(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        ends = {"least": value.min().item(), "greatest": value.max().item()} if value.size else {}
        return {"shape": list(value.shape), **ends}
    if isinstance(value, np.generic):
        return value.item()
    return list(value) if isinstance(value, tuple) else value


def words(operation: Operation) -> str:
    """The fields of an operation in words: `kernel 3, stride 2, padding 1`, `decay 0.5, threshold 1`."""
    found = ((field.name, _word(field.name, getattr(operation, field.name))) for field in fields(operation))
    return ", ".join(f"{name} {word}" for name, word in found if word)


def _word(name: str, value: Any) -> str:
    """The text of a value; empty for a default value."""
    if isinstance(value, np.ndarray):
        if name == "weight" or not value.size:
            return size(value.shape)
        least, greatest = value.min(), value.max()
        if least != greatest:
            return f"{least:.4g} to {greatest:.4g}"
        return "" if least == SILENT.get(name) else f"{least:.4g}"
    if isinstance(value, tuple):
        return _word(name, value[0]) if len(set(value)) == 1 else size(value)
    return "" if value == SILENT.get(name) else str(value)


def size(shape: Any) -> str:
    """The text of a shape: `16×32×32`."""
    return "×".join(str(int(n)) for n in shape) or "1"


def window(operation: Operation) -> str:
    """The size of the kernel, `3×3`, and the stride, `/2`, of an operation with windows; for pictures."""
    if not isinstance(operation, Windowed):
        return ""
    stride = max(operation.windows.stride)
    return f" {size(operation.windows.kernel)}" + (f" /{stride}" if stride > 1 else "")
