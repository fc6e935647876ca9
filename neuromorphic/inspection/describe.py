"""Operations in words and in numbers, from their fields alone, so that a new operation needs nothing here."""

from dataclasses import fields
from typing import Any

import numpy as np

from neuromorphic.operations import MaxPool2d, Operation, SelfAttention

EXTENSIONS = (MaxPool2d, SelfAttention)
"""Operations that stand for extension nodes (`nodes`)."""

NIR_TYPES = {
    "Source": "Input",
    "Sink": "Output",
    "Lif": "LIF",
    "LoihiLif": "LIF",
    "If": "IF",
    "Li": "LI",
    "CubaLif": "CubaLIF",
    "CubaLi": "CubaLI",
    "Integrator": "I",
    "SelfAttention": "SpikingSelfAttention",
}
"""What NIR calls operations that have another name here."""

SILENT = {"padding": 0, "dilation": 1, "groups": 1, "divisor": 1, "gain": 1, "leak": 0, "reset": 0}
"""Values that nobody needs to be told."""


def node_type(operation: Operation) -> str:
    """The type of the node in the file."""
    name = type(operation).__name__
    return NIR_TYPES.get(name, name)


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
    """The fields of an operation in words: `kernel 3×3, stride 2, padding 1`, `decay 0.5, threshold 1`."""
    found = []
    for field in fields(operation):
        value = _number(getattr(operation, field.name))
        if field.name == "weight":
            found.append(f"weight {size(value['shape'])}")
        elif isinstance(value, dict):
            least, greatest = value.get("least"), value.get("greatest")
            if least != greatest:
                found.append(f"{field.name} {least:.4g} to {greatest:.4g}")
            elif value["shape"] and least != SILENT.get(field.name):
                found.append(f"{field.name} {least:.4g}")
        elif isinstance(value, list):
            if set(value) != {SILENT.get(field.name)} and not (field.name == "stride" and set(value) == {1}):
                found.append(f"{field.name} {value[0] if len(set(value)) == 1 else size(value)}")
        elif value != SILENT.get(field.name):
            found.append(f"{field.name} {value}")
    return ", ".join(found)


def size(shape: Any) -> str:
    """A shape as people write it: `16×32×32`."""
    return "×".join(str(int(n)) for n in shape) or "1"


def window(operation: Operation) -> str:
    """The size of a kernel, `3×3`, and its stride, `/2`, where an operation has them: for a picture."""
    kernel = getattr(operation, "kernel", None)
    weight = getattr(operation, "weight", None)
    if kernel is None and weight is not None and weight.ndim > 2:
        kernel = weight.shape[2:]
    if kernel is None:
        return ""
    stride = max(np.atleast_1d(getattr(operation, "stride", 1)))
    return f" {size(kernel)}" + (f" /{stride}" if stride > 1 else "")
