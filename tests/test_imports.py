"""The arrows of the layout: who may import whom, and that the chip side runs without torch."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

ALLOWED = {
    "spikeclip": (
        "spikeclip",
        *(f"neuromorphic.{room}" for room in ("errors", "arrays", "files", "lazy", "tables", "pages", "cluster")),
    ),
    "export": (
        "export",
        "spikeclip",
        *(
            f"neuromorphic.{room}"
            for room in ("errors", "files", "lazy", "cluster", "ops", "ir", "analysis", "reading")
        ),
    ),
    "neuromorphic": ("neuromorphic",),
    "energy": ("energy", "neuromorphic"),
}
"""What of the project each package may import; what brings packages together (`of_command_line`) imports any."""

ROOMS = (
    "errors",
    "arrays",
    "files",
    "lazy",
    "tables",
    "pages",
    "cluster",
    "ops",
    "ir",
    "analysis",
    "reading",
    "execution",
    "loihi2",
    "lava",
    "placement",
    "inspection",
    "deploy",
    "targets",
    "runs",
)
"""Of `neuromorphic`: each imports those before it; `cli.py` files import any."""

TORCH = {"torch", "torchvision", "spikingjelly", "nirtorch"}
TORCH_FREE = ("neuromorphic", "energy")
LINES = 400

FILES = sorted(path for package in ALLOWED for path in (ROOT / package).rglob("*.py"))
SOURCES = [*FILES, *(path for folder in ("tests", "benchmarks", "scripts") for path in (ROOT / folder).rglob("*.py"))]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Module and line of each import in `tree`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # A relative import stays in its package's own tree, but could climb out of it: there is none.
            assert node.level == 0, f"line {node.lineno}: a relative import"
            yield str(node.module), node.lineno


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def runs_at_import(path: Path) -> ast.Module:
    """A file without the bodies of functions."""

    class Strip(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
            node.body = [ast.Pass()]
            return node

    return Strip().visit(ast.parse(path.read_text()))


def of_command_line(path: Path) -> bool:
    """Whether a file may bring packages together: `cli.py` of a command, a part of it, or its one call in Python."""
    return path.stem.split("_")[0] == "cli" or path.name == "one_call.py"


def test_the_packages_are_found():
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == set(ALLOWED)


def test_every_room_is_a_package_that_a_wheel_takes_along():
    assert not [name(path) for path in FILES if not (path.parent / "__init__.py").is_file()]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def of_package(package: str) -> list[Path]:
    return [path for path in FILES if path.is_relative_to(ROOT / package)]


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_follow_the_arrows(package):
    wrong = [
        f"{name(path)}:{line} imports {other}"
        for path in of_package(package)
        if not of_command_line(path)
        for other, line in imports(parsed(path))
        if other.split(".")[0] in ALLOWED and not any(within(other, allowed) for allowed in ALLOWED[package])
    ]
    assert not wrong


@pytest.mark.parametrize("package", TORCH_FREE)
def test_the_chip_side_imports_no_torch(package):
    wrong = [
        f"{name(path)}:{line} imports {other}"
        for path in of_package(package)
        for other, line in imports(runs_at_import(path) if of_command_line(path) else parsed(path))
        if other.split(".")[0] in TORCH
    ]
    assert not wrong


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_those_before_them(room):
    before = [f"neuromorphic.{other}" for other in ROOMS[: ROOMS.index(room) + 1]]
    paths = of_package(f"neuromorphic/{room}") or [ROOT / "neuromorphic" / f"{room}.py"]
    wrong = [
        f"{name(path)}:{line} imports {other}"
        for path in paths
        if path.name != "cli.py"
        for other, line in imports(parsed(path))
        if within(other, "neuromorphic") and not any(within(other, allowed) for allowed in before)
    ]
    assert not wrong


def test_files_are_short_enough_to_read():
    assert [name(path) for path in SOURCES if len(path.read_text().splitlines()) > LINES] == []


def test_lavas_processes_stand_alone():
    # Lava's compiler executes every file beside a process's own, once for each process of a graph.
    files = [path for path in (ROOT / "neuromorphic" / "lava" / "processes").glob("*.py") if path.name != "__init__.py"]
    assert files
    for path in files:
        classes = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.ClassDef)]
        bases = {ast.unparse(base) for node in classes for base in node.bases}
        assert any("Process" in base for base in bases), f"{name(path)} holds no process and no model of one"


@pytest.mark.parametrize(
    "module", ["neuromorphic", "neuromorphic.cli", "neuromorphic.inspection.cli", "energy", "energy.cli"]
)
def test_the_chip_side_runs_without_torch(module):
    code = f"import sys, {module}; sys.exit(', '.join(sorted(set(sys.modules) & {TORCH!r})) or 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
