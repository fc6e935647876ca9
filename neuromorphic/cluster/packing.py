"""Packs results of shards into bytes and back: plain values, arrays and records of known classes, but no code.

The bytes are an `.npz` of numbered arrays and of `tree`, JSON in which each object names its type.
"""

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel


def pack(value: Any) -> bytes:
    """`value` as bytes.

    Raises:
        TypeError: something in it is none of None, booleans, numbers, text, tuples, lists, mappings of text to such,
            arrays, dataclasses and pydantic models.
    """
    arrays: list[NDArray[Any]] = []
    tree = json.dumps(_tree(value, arrays)).encode()
    stored = {str(number): array for number, array in enumerate(arrays)}
    buffer = BytesIO()
    np.savez(buffer, allow_pickle=False, tree=np.frombuffer(tree, np.uint8), **stored)
    return buffer.getvalue()


def unpack(data: bytes, classes: Mapping[str, type]) -> Any:
    """The result in bytes made by `pack`, from any source; its records are of these classes, by name.

    Raises:
        ValueError: the bytes are damaged, or hold anything else.
    """
    try:
        with np.load(BytesIO(data), allow_pickle=False) as found:
            tree = json.loads(found["tree"].tobytes())
            return _value(tree, {name: found[name] for name in found.files}, classes)
    except Exception as error:  # for damaged bytes, zipfile, zlib, numpy and records raise anything
        raise ValueError(str(error)) from error


def _tree(value: Any, arrays: list[NDArray[Any]]) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if isinstance(value, tuple | list):
        return {type(value).__name__: [_tree(each, arrays) for each in value]}
    if isinstance(value, Mapping):
        return {"mapping": [[str(key), _tree(each, arrays)] for key, each in value.items()]}
    if isinstance(value, BaseModel):
        # Fields that follow from others are computed again.
        names = [name for name, field in type(value).model_fields.items() if field.default_factory is None]
    elif is_dataclass(value):
        names = [field.name for field in fields(value) if field.init]
    else:
        raise TypeError(f"a result holds {type(value).__name__}; expected numbers, text, arrays or records")
    return {"record": type(value).__name__, "fields": {name: _tree(getattr(value, name), arrays) for name in names}}


def _value(tree: Any, arrays: Mapping[str, NDArray[Any]], classes: Mapping[str, type]) -> Any:
    match tree:
        case {"array": number}:
            return arrays[str(number)]
        case {"tuple": values}:
            return tuple(_value(each, arrays, classes) for each in values)
        case {"list": values}:
            return [_value(each, arrays, classes) for each in values]
        case {"mapping": pairs}:
            return {key: _value(each, arrays, classes) for key, each in pairs}
        case {"record": name, "fields": values}:
            return classes[name](**{key: _value(each, arrays, classes) for key, each in values.items()})
        case None | bool() | int() | float() | str():
            return tree
        case unknown:
            raise ValueError(f"a result holds {unknown!r}")
