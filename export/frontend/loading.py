"""Loading a user's module: a factory in a file or a package, and its weights.

This runs the user's Python; nothing else here does.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from spikeclip.errors import RefusedInput


def load_module(spec: str, weights: Path | None = None) -> nn.Module:
    """The module that `FILE.py:FACTORY` or `package.module:factory` returns, in evaluation mode.

    Args:
        spec: a factory without arguments: a function, or a class of modules.
        weights: a state dictionary, `.safetensors` or what `torch.save` writes, perhaps within a checkpoint.

    Raises:
        RefusedInput: there is no such file, factory or module, the factory raises, or the weights don't fit.
    """
    home, _, name = spec.rpartition(":")
    if not home or not name:
        raise RefusedInput(f"--module {spec!r} names no factory; expected FILE.py:FACTORY or package.module:factory")
    factory = getattr(_home(home), name, None)
    if not callable(factory):
        raise RefusedInput(f"{home} has no function or class {name!r}; expected one that returns a module")
    try:
        module = factory()
    except Exception as error:  # the user's own code
        raise RefusedInput(f"{spec} raises {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise RefusedInput(f"{spec} returns {type(module).__name__}; expected a torch.nn.Module")
    if weights is not None:
        _load_weights(module, weights)
    return module.eval()


def _home(home: str) -> ModuleType:
    try:
        if not home.endswith(".py"):
            return importlib.import_module(home)
        path = Path(home)
        if not path.is_file():
            raise RefusedInput(f"{path}: no such file")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None:
            raise RefusedInput(f"{path}: is no Python file")
        found = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = found
        sys.path.insert(0, str(path.parent.resolve()))  # as Python itself does for a script
        try:
            spec.loader.exec_module(found)
        finally:
            sys.path.pop(0)
        return found
    except RefusedInput:
        raise
    except Exception as error:  # the user's own code
        raise RefusedInput(f"{home} can't be imported: {type(error).__name__}: {error}") from error


def _load_weights(module: nn.Module, path: Path) -> None:
    if not path.is_file():
        raise RefusedInput(f"{path}: no such file")
    try:
        loaded: Any = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # pickle, zip and safetensors have errors of their own
        raise RefusedInput(f"{path}: can't be read as weights ({type(error).__name__}: {error})") from error
    for key in ("state_dict", "model", "net", "model_state_dict"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
            break
    if not isinstance(loaded, dict) or not all(isinstance(v, torch.Tensor) for v in loaded.values()):
        raise RefusedInput(f"{path}: holds no state dictionary; expected tensors by name")
    state = {key.removeprefix("module."): value for key, value in loaded.items()}  # of DataParallel
    missing, unexpected = module.load_state_dict(state, strict=False)
    if missing or unexpected:
        first = [f"{len(missing)} missing ({missing[0]!r}, ...)"] if missing else []
        first += [f"{len(unexpected)} not in the module ({unexpected[0]!r}, ...)"] if unexpected else []
        raise RefusedInput(f"{path}: its weights are not the module's: {', '.join(first)}; expected every name in both")
