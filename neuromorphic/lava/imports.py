"""Makes lava-nc 0.10.0 importable on Python 3.11 and newer; import this before any module of Lava.

Lava's `var_model` takes an instance of the dataclass `ByteEncoder` as the default of a field.  Since Python 3.11 such a
default must be hashable, which a dataclass with `__eq__` is not.  So that one class is made hashable while that one
module is imported, and nothing else is touched.

Lava's `Conv` takes one function of scipy.signal, whose import takes longer than all of Lava's: it is put off until that
function is called.
"""

import dataclasses
import importlib
import importlib.util
import sys
from typing import Any
from unittest import mock

import scipy

_MODULE = "lava.magma.compiler.var_model"


def _import_var_model() -> None:
    original = dataclasses.dataclass

    def dataclass(cls: Any = None, /, **options: Any) -> Any:
        if cls is not None and cls.__module__ == _MODULE and cls.__name__ == "ByteEncoder":
            options["unsafe_hash"] = True
        return original(cls, **options)

    with mock.patch.object(dataclasses, "dataclass", dataclass):
        importlib.import_module(_MODULE)


def _put_off_convolution() -> None:
    """Let `from scipy import signal` find a module that is executed when something in it is asked for."""
    spec = importlib.util.find_spec("scipy.signal")
    if "scipy.signal" in sys.modules or spec is None or spec.loader is None:
        return
    spec.loader = importlib.util.LazyLoader(spec.loader)
    sys.modules["scipy.signal"] = scipy.signal = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


def import_convolution() -> None:
    """Import what `Conv` takes now: each of its processes would do so for itself, behind the fork."""
    importlib.import_module("scipy.signal")


if _MODULE not in sys.modules:
    _import_var_model()
_put_off_convolution()
