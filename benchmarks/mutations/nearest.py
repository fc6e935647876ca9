"""The files of tests that judge a file: first those that are called like it and import it most directly."""

import ast
from collections import deque
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGES = ("energy", "export", "neuromorphic")
"""Whose files are changed."""

JUDGES = (
    *("tests/energy/**/test_*.py", "tests/export/**/test_*.py", "tests/neuromorphic/**/test_*.py"),
    *("tests/properties/test_*.py", "tests/fuzz/test_*.py", "tests/test_*commands.py", "tests/test_refusals.py"),
    "tests/test_labels_by_name.py",
)
"""Files of tests that may judge."""


FAR = 99
"""Files between a file and tests that are called like it and don't import it in so many words."""


def nearest(root: Path, name: str) -> list[str]:
    """Files of tests that share a word with the file `name`, or import it, however many files lie between.

    Most shared words come first; of as many, those with the fewest files between.
    """
    words = _words(name)
    found = []
    for path in sorted({path for pattern in JUDGES for path in root.glob(pattern)}):
        test = path.relative_to(root).as_posix()
        shared, between = len(words & _words(test)), distances(root, test).get(name, FAR)
        if shared or between < FAR:
            found.append((-shared, between, path.stat().st_size, test))
    return [test for *_, test in sorted(found)]


def _words(name: str) -> set[str]:
    parts = [word for part in Path(name).with_suffix("").parts[1:] for word in part.split("_")]
    return {word.removesuffix("s") for word in parts}


@cache
def distances(root: Path, test: str) -> dict[str, int]:
    """How many imports away each file is from a file of tests."""
    found, due = {test: 0}, deque([test])
    while due:
        name = due.popleft()
        for other in _imports(root, name):
            if other not in found:
                found[other] = found[name] + 1
                due.append(other)
    return found


@cache
def _imports(root: Path, name: str) -> frozenset[str]:
    """The project's files that a file imports, at its top or within functions; a folder's name is its `__init__.py`."""
    found = set()
    for module in _modules(ast.parse((root / name).read_text())):
        path = module.replace(".", "/")
        found |= {each for each in (f"{path}.py", f"{path}/__init__.py") if (root / each).is_file()}
    return frozenset(found)


def _modules(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names):
                yield module
                yield from (f"{module}.{alias.name}" for alias in names)
            case _:
                pass
