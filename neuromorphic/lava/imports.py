"""Makes lava-nc 0.10.0 importable on Python 3.11 and newer; import this before any module of Lava.

Lava's `var_model` takes an instance of the dataclass `ByteEncoder` as the default of a field.  Since Python 3.11 such a
default must be hashable, which a dataclass with `__eq__` is not.  So that one class is made hashable while that one
module is imported, and nothing else is touched.
"""

import dataclasses
import importlib
import sys
from typing import Any
from unittest import mock

_MODULE = "lava.magma.compiler.var_model"


def _import_var_model() -> None:
    original = dataclasses.dataclass

    def dataclass(cls: Any = None, /, **options: Any) -> Any:
        if cls is not None and cls.__module__ == _MODULE and cls.__name__ == "ByteEncoder":
            options["unsafe_hash"] = True
        return original(cls, **options)

    with mock.patch.object(dataclasses, "dataclass", dataclass):
        importlib.import_module(_MODULE)


if _MODULE not in sys.modules:
    _import_var_model()
