"""Versions that have to be the same on all workers of a run, so that results are those of one machine."""

import hashlib
import platform
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

OURS = ("energy", "export", "neuromorphic", "spikeclip")
LIBRARIES = ("numpy", "torch")


@cache
def versions() -> dict[str, str]:
    """Python's version, those of the libraries that compute, and the hash of our own code, by name."""
    libraries = dict.fromkeys(LIBRARIES, "not installed") | installed(LIBRARIES)
    return {"python": platform.python_version(), "spikeclip": _own_code(), **libraries}


def installed(libraries: Iterable[str]) -> dict[str, str]:
    """The versions of those of the libraries that are installed, by name."""
    found = {}
    for library in libraries:
        with suppress(PackageNotFoundError):  # as of this package, where it runs from its sources
            found[library] = version(library)
    return found


def differing(expected: dict[str, str]) -> str | None:
    """The differences of this process's versions from `expected`, in words; None if there are none."""
    own = versions()
    odd = [
        f"{name} {own.get(name, 'unknown')[:12]} for {expected[name][:12]}"
        for name in expected
        if own.get(name) != expected[name]
    ]
    return ", ".join(odd) or None


def _own_code() -> str:
    """The sha256 of the names and contents of our packages' Python files."""
    digest = hashlib.sha256()
    for package in OURS:
        spec = find_spec(package)
        root = None if spec is None or spec.origin is None else Path(spec.origin).parent
        for path in [] if root is None else sorted(root.rglob("*.py")):
            digest.update(f"{package}/{path.relative_to(root).as_posix()}\0".encode())  # type: ignore[arg-type]
            digest.update(path.read_bytes())
    return digest.hexdigest()
