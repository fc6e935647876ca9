"""Loading a user's module: a factory in a file or a package, and its weights.

This runs the user's Python; nothing else here does.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from export.frontend.bare import unwrapped
from spikeclip.console import console
from spikeclip.errors import RefusedInput
from spikeclip.published import bare, read_state


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
    module = unwrapped(module)
    if weights is not None:
        _load_weights(module, weights)
    return module.eval()


def _home(home: str) -> ModuleType:
    if home.endswith(".py") and not Path(home).is_file():
        raise RefusedInput(f"{home}: no such file")
    try:
        return _executed(Path(home)) if home.endswith(".py") else importlib.import_module(home)
    except Exception as error:  # the user's own code
        raise RefusedInput(f"{home} can't be imported: {type(error).__name__}: {error}") from error


def _executed(path: Path) -> ModuleType:
    """The module that a `.py` file makes, executed as Python executes a script: its folder is searched first.

    A name that another module has is left to it: a user's `energy.py` must not stand for our package.
    """
    name = f"user_{path.stem}" if _is_taken(path) else path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("no Python file")
    found = importlib.util.module_from_spec(spec)
    sys.modules[name] = found
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        spec.loader.exec_module(found)
    finally:
        sys.path.pop(0)
    return found


def _is_taken(path: Path) -> bool:
    """Whether the name of a `.py` file is that of another module that can be imported."""
    try:
        found = importlib.util.find_spec(path.stem)
    except (ImportError, ValueError):  # a name with a dot in it, or a module that knows no origin
        return path.stem in sys.modules
    return found is not None and (found.origin is None or Path(found.origin).resolve() != path.resolve())


def _load_weights(module: nn.Module, path: Path) -> None:
    if not path.is_file():
        raise RefusedInput(f"{path}: no such file")
    if path.suffix == ".safetensors":
        state, taken = _safetensors(path), ""
    else:
        state, taken = read_state(path, type(module).__name__)
    if taken:
        console.print(taken, markup=False)
    own = module.state_dict()  # whose first part may itself be called `module`
    state = {f"module.{name}" if f"module.{name}" in own else name: tensor for name, tensor in state.items()}
    try:
        missing, unexpected = module.load_state_dict(state, strict=False)
    except RuntimeError as error:  # tensors of other shapes
        raise RefusedInput(f"{path}: its weights are not the module's: {' '.join(str(error).split())[:300]}") from error
    if missing or unexpected:
        first = [f"{len(missing)} missing ({missing[0]!r}, ...)"] if missing else []
        first += [f"{len(unexpected)} not in the module ({unexpected[0]!r}, ...)"] if unexpected else []
        raise RefusedInput(f"{path}: its weights are not the module's: {', '.join(first)}; expected every name in both")


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        state: dict[str, Tensor] = load_file(path)
    except SafetensorError as error:
        raise RefusedInput(f"{path}: not a readable safetensors file ({error})") from error
    return {bare(name): tensor for name, tensor in state.items()}
