"""Makes lava-nc 0.10.0 importable on Python 3.11 and newer; import this before any module of Lava.

Lava's `var_model` uses an instance of the dataclass `ByteEncoder` as the default of a field.  Since Python 3.11 such a
default must be hashable, which a dataclass with `__eq__` is not.  So this one class is made hashable while that one
module is imported; nothing else is changed.

Lava's `Conv` uses one function of scipy.signal, whose import takes longer than all of Lava; scipy imports all of numpy,
f2py included.  Both imports are put off until something in them is used.
"""

import dataclasses
import importlib
import importlib.util
import sys
from typing import Any

_MODULE = "lava.magma.compiler.var_model"


def _import_var_model() -> None:
    original = dataclasses.dataclass

    def dataclass(cls: Any = None, /, **options: Any) -> Any:
        if cls is not None and cls.__module__ == _MODULE and cls.__name__ == "ByteEncoder":
            options["unsafe_hash"] = True
        return original(cls, **options)

    vars(dataclasses)["dataclass"] = dataclass
    try:
        importlib.import_module(_MODULE)
    finally:
        vars(dataclasses)["dataclass"] = original


def _put_off(package: str, name: str) -> None:
    """Let `from package import name` find a module that is executed at the first use of something in it."""
    whole = f"{package}.{name}"
    spec = importlib.util.find_spec(whole)
    if whole in sys.modules or spec is None or spec.loader is None:
        return
    spec.loader = importlib.util.LazyLoader(spec.loader)
    sys.modules[whole] = module = importlib.util.module_from_spec(spec)
    setattr(sys.modules[package], name, module)
    spec.loader.exec_module(module)


def import_convolution() -> None:
    """Import scipy.signal now, once; else each process of `Conv` would import it after the fork."""
    importlib.import_module("scipy.signal")


_put_off("numpy", "f2py")
_put_off("scipy", "signal")
if _MODULE not in sys.modules:
    _import_var_model()
