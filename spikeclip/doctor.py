"""Finds what is installed and what is missing; installs Lava past what its metadata refuses."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from neuromorphic.errors import RefusedInput
from spikeclip.shipped import shipped

LAVA = "lava-nc==0.10.0"
"""The release that everything here is tested with, and the last one."""

LAVA_IMPORTS = "import neuromorphic.lava.network, neuromorphic.lava.processes.stock"

PYTHONS = ((3, 11), (3, 13))
"""First and last version of Python."""

CIFAR10 = "SPIKECLIP_CIFAR10"
"""The variable that names the folder of CIFAR-10's binary files."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for.

    Attributes:
        name: what it is.
        ok: whether it is there.
        found: its version or its place; why not, where it isn't there.
        serves: what needs it.
        remedy: how to get it; empty where nothing is to be done.
        core: whether nothing works without it.
    """

    name: str
    ok: bool
    found: str
    serves: str
    remedy: str = ""
    core: bool = False


@dataclass(frozen=True)
class _Package:
    """A package by the name that pip knows it by; `extra` of `pyproject.toml` brings it, the core where it is empty."""

    name: str
    serves: str
    extra: str = ""


PACKAGES = (
    _Package("numpy", "every command"),
    _Package("nir", "every command"),
    _Package("h5py", "every command"),
    _Package("pillow", "images"),
    _Package("pydantic", "energy"),
    _Package("torch", "export, train, eval, labels, head, simulate --check", "torch"),
    _Package("spikingjelly", "the same", "torch"),
    _Package("onnx", "export --format onnx", "onnx"),
    _Package("onnxruntime", "running what that writes", "onnx"),
    _Package("transformers", "labels --clip, train-text, CLIP as a teacher", "clip"),
    _Package("scikit-image", "--images samples", "data"),
    _Package("numba", "--backend fast, several times as fast in long runs", "fast"),
    _Package("distributed", "--cluster", "cluster"),
    _Package("matplotlib", "plots of traces, eval --confusion", "plot"),
)


def findings() -> list[Finding]:
    """Everything that is looked for, in the order in which one needs it."""
    return [_python(), *map(_package, PACKAGES), _lava(), _checkpoints(), _cifar10()]


def _python() -> Finding:
    first, last = (".".join(map(str, version)) for version in PYTHONS)
    version = sys.version_info
    ok = PYTHONS[0] <= version[:2] <= PYTHONS[1]
    found = ".".join(map(str, version[:3]))
    return Finding("Python", ok, found, "every command", "" if ok else f"Python {first} to {last}", core=True)


def _package(package: _Package) -> Finding:
    try:
        return Finding(package.name, True, metadata.version(package.name), package.serves, core=not package.extra)
    except metadata.PackageNotFoundError:
        what = f"'spikeclip[{package.extra}]'" if package.extra else "spikeclip"
        remedy = f"pip install {what}"
        return Finding(package.name, False, "not installed", package.serves, remedy, core=not package.extra)


def _lava() -> Finding:
    serves, remedy = "simulate --backend lava", "spikeclip doctor --install-lava"
    try:
        version = metadata.version("lava-nc")
    except metadata.PackageNotFoundError:
        return Finding("lava-nc", False, "not installed", serves, remedy)
    reason = try_lava()
    return Finding(
        "lava-nc", reason is None, version if reason is None else reason, serves, "" if not reason else remedy
    )


def try_lava() -> str | None:
    """Why Lava and the processes that are made of it can't be imported; None if they can."""
    # In a process of its own, which sees what was installed a moment ago.
    done = subprocess.run([sys.executable, "-c", LAVA_IMPORTS], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else done.stderr.strip().splitlines()[-1][:200]


def _checkpoints() -> Finding:
    names = [*shipped(), *shipped("twins")]
    remedy = "" if names else "pip install --force-reinstall --no-deps spikeclip"
    return Finding("checkpoints", bool(names), ", ".join(names) or "none", "export, eval, simulate --check", remedy)


def _cifar10() -> Finding:
    serves, folder = "tests on its images, which --images cifar10:DIR takes from anywhere", os.environ.get(CIFAR10)
    if folder is None:
        return Finding("CIFAR-10", False, "not named", serves, f"{CIFAR10}=DIR (docs/data.md says where it comes from)")
    ok = any(Path(folder).rglob("test_batch*"))
    return Finding(
        "CIFAR-10", ok, folder if ok else f"{folder} has no test_batch", serves, "" if ok else "docs/data.md"
    )


def lava_commands() -> Iterator[list[str]]:
    """The commands that install Lava: first the requirements that the extra `lava` lists, then Lava, without checks.

    Raises:
        RefusedInput: there is no pip here.
    """
    if find_spec("pip") is None:
        raise RefusedInput("there is no pip in this environment; expected `python -m ensurepip` before")
    pip = [sys.executable, "-m", "pip", "install"]
    wanted = [
        re.sub(r";.*", "", line).strip() for line in metadata.requires("spikeclip") or () if 'extra == "lava"' in line
    ]
    if wanted:
        yield [*pip, *wanted]
    yield [*pip, "--no-deps", "--ignore-requires-python", LAVA]


def install_lava(command: list[str]) -> None:
    """Run one of `lava_commands`.

    Raises:
        RefusedInput: pip failed; with its last words.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip() or "nothing said").splitlines()[-1]
        raise RefusedInput(f"pip failed: {words}; expected a connection to a package index")
