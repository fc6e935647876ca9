"""Dictionaries of numbers, strings and arrays from pickles, of which nothing is executed.

A pickle is a program that may call any function by name.  Here the few names that an array of numbers takes stand for
classes and functions of this file, which only put bytes aside, and any other name is refused.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeclip.errors import RefusedInput, first_line

INTEGERS = frozenset({"u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"})


class ForeignName(Exception):
    """A pickle names something that no array of integers takes."""


def read_pickle(path: Path) -> dict[str, Any]:
    """The dictionary in the pickle, with strings for its keys and int arrays for its arrays.

    Python 2's strings are bytes.

    Raises:
        RefusedInput: it isn't a pickle of a dictionary, or would call something that isn't needed for arrays.
    """
    try:
        with path.open("rb") as file:
            content = _Reader(file, encoding="bytes").load()
        if not isinstance(content, dict):
            raise RefusedInput(f"{path}: a pickle of {type(content).__name__}; expected a dictionary")
        return {_text(key): _plain(value) for key, value in content.items()}
    except ForeignName as error:
        raise RefusedInput(
            f"{path}: the pickle wants to call {error}; expected lists, strings and arrays of integers only, "
            "and nothing in it is executed"
        ) from error
    except RefusedInput:
        raise
    except Exception as error:  # a damaged pickle leads the reader to whatever it likes
        raise RefusedInput(f"{path}: not a readable pickle ({first_line(error)})") from error


class _Reader(pickle.Unpickler):
    """Reads a pickle with stand-ins for the names of an array, each new for every use."""

    def find_class(self, module: str, name: str) -> Any:
        owner = module.replace("numpy._core", "numpy.core")
        if (owner, name) == ("numpy", "dtype"):
            return type("dtype", (_Kind,), {})
        if (owner, name) == ("numpy", "ndarray"):
            return type("ndarray", (_Array,), {})
        if (owner, name) == ("numpy.core.multiarray", "_reconstruct"):
            return lambda kind, shape, code: _Array()
        if (owner, name) == ("numpy.core.multiarray", "scalar"):
            return lambda kind, data: _Array().filled((), kind, False, data)
        if (owner, name) == ("numpy.core.numeric", "_frombuffer"):
            return lambda data, kind, shape, order: _Array().filled(shape, kind, order == "F", data)
        if (owner, name) == ("_codecs", "encode"):
            return lambda text, encoding: text.encode(encoding if encoding == "latin1" else "ascii")
        if (owner, name) in (("builtins", "bytes"), ("__builtin__", "bytes")):
            return lambda: b""  # how Python 3 writes empty bytes for Python 2
        raise ForeignName(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        raise ForeignName("an object outside of the file")


class _Kind:
    """Stands for numpy's dtype in a pickle: a code as `u1`, and the order of bytes as its state."""

    def __init__(self, code: Any, *others: Any) -> None:
        self.code, self.order = _text(code), "="

    def __setstate__(self, state: Any) -> None:
        self.order = _text(state[1])

    def dtype(self) -> np.dtype[Any]:
        if self.code not in INTEGERS or self.order not in ("<", ">", "=", "|"):
            raise ForeignName(f"numpy.dtype of {self.code!r}")
        return np.dtype(self.order + self.code)


class _Array:
    """Stands for an array in a pickle: shape, kind, order of axes, bytes."""

    def filled(self, shape: Any, kind: Any, by_columns: Any, data: Any) -> "_Array":
        self.shape, self.kind, self.by_columns, self.data = shape, kind, by_columns, data
        return self

    def __setstate__(self, state: Any) -> None:
        self.filled(*state[1:])

    def array(self) -> NDArray[np.integer]:
        data = self.data.encode("latin1") if isinstance(self.data, str) else bytes(self.data)
        return np.frombuffer(data, self.kind.dtype()).reshape(self.shape, order="F" if self.by_columns else "C")


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _plain(value: Any) -> Any:
    """`value` with arrays for what stands for them, in lists too."""
    if isinstance(value, _Array):
        found = value.array()
        return found if found.ndim else int(found)
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value
