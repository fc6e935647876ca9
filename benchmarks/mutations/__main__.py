"""Small changes of the code, each judged by the tests that run it: `python -m benchmarks.mutations OUT.json`.

The sample has as many changes of each kind, since most places are numbers and arguments.

The project is copied, one file of the copy is changed (`sites`), and tests run until one fails, those first that are
called like the file and import it most directly (`nearest`).  Files that draw are left out, as people judge what they
draw, and so are command lines.  An interrupted run goes on where it was: the same seed has the same sample.
"""

import ast
import contextlib
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from itertools import count, zip_longest
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.mutations.nearest import PACKAGES, distances, nearest
from benchmarks.mutations.sites import Site, changed, sites

ROOT = Path(__file__).resolve().parents[2]

DRAW = ("pages", "page", "picture", "drawing", "layout", "heatmap", "figures", "break_even", "scales", "cli")
"""Of files and folders that are left out."""

BROKEN, USAGE, NONE = 70, 4, 5
"""Exit codes of a copy of this process that came to no test; of pytest that was called wrongly; and found no test."""

LONGEST = 300
"""Seconds of the processor of one batch, after which a change is taken to have no end."""

PATIENCE, LOOK = 1200, 0.1
"""Seconds that a batch may take in all, as one that waits takes none of the processor; and between two looks at it."""

KERNELS = "neuromorphic/execution/kernels.py"
"""What Numba compiles, and keeps beside it."""

NEURONS = "spikingjelly.activation_based.neuron"

KILLED, SURVIVED, LATE = "killed", "survived", "out of time"


def places() -> dict[str, tuple[str, Site]]:
    """All places of the project, each with its file, by a name that stays when lines are added above."""
    found: dict[str, tuple[str, Site]] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT)
            if not set(DRAW) & {word for part in name.with_suffix("").parts for word in (part, part.split("_")[0])}:
                for site in sites(path.read_text()):
                    key = f"{name.as_posix()}:{site.function}: {site.kind}: {site.change}"
                    again = next(f" ({i})" if i else "" for i in count() if (f"{key} ({i})" if i else key) not in found)
                    found[key + again] = name.as_posix(), site
    return found


def in_turn(found: dict[str, tuple[str, Site]], seed: int) -> list[str]:
    """The names of all places in an order by chance, of every kind one in turn; other places leave it as it is."""
    kinds: dict[str, list[str]] = {}
    for key in sorted(found, key=lambda key: hashlib.sha256(f"{seed} {key}".encode()).digest()):
        kinds.setdefault(found[key][1].kind, []).append(key)
    return [key for turn in zip_longest(*(kinds[kind] for kind in sorted(kinds))) for key in turn if key is not None]


QUICK, DRAWN = "not slow and not alone and not drawn", "drawn and not slow and not alone"
"""Which tests of a file run first, and which last: those of random examples that are expensive."""

BATCHES = ((QUICK, 0, 3), (QUICK, 3, 9), (DRAWN, 0, 3), (QUICK, 9, 27), (DRAWN, 3, 27), (QUICK, 27, None))
"""Which files of tests run at once, the nearest first: most changes end in the first batch."""


class Judge:
    """The tests of a copy of the project.

    Attributes:
        copy: its folder.
        seconds: of the processor, after which no further batch of tests of a change begins.
        broken: tests that fail without any change.
        healthy: tests that are known not to.
    """

    def __init__(self, copy: Path, seconds: int) -> None:
        self.copy, self.seconds = copy, seconds
        self.broken: set[str] = set()
        self.healthy: set[str] = set()

    def judged(self, name: str, site: Site) -> dict[str, Any]:
        """The verdict of the tests on one change."""
        start, code, by = _spent(), 0, ""
        files = nearest(self.copy, name)
        for which, first, end in BATCHES:
            if not code and _spent() - start < self.seconds and files[first:end]:
                code, by = self._outcome(name, site, files[first:end], which)
        return {
            "file": name,
            "line": site.line,
            "kind": site.kind,
            "change": site.change,
            "verdict": SURVIVED if code == 0 else LATE if code == -signal.SIGXCPU else KILLED,
            "by": by or f"exit code {code}",
            "seconds": round(_spent() - start, 1),
        }

    def _outcome(self, name: str, site: Site, tests: list[str], which: str) -> tuple[int, str]:
        """The exit code of tests until one fails, and that one; without those that fail on the project as it is."""
        while True:
            without = [word for by in sorted(self.broken) for word in ("--deselect" if "::" in by else "--ignore", by)]
            with _change(self.copy, name, site):
                code, said = _tested(self.copy, [*without, *tests], which)
            found = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", said, re.MULTILINE)
            by = "" if found is None else found[1]
            if code == 0 or not by or self._is_healthy(by):
                return code, by

    def _is_healthy(self, test: str) -> bool:
        """Whether a test, or a file of tests, passes on the project as it is."""
        if test not in self.healthy:
            code, _ = _tested(self.copy, [test])
            (self.broken if code else self.healthy).add(test)
            if code:
                print("fails without any change:", test, flush=True)
        return test in self.healthy


def _copy(folder: Path) -> None:
    """The files of the project that git knows, as they are now in its working tree.

    Those that are changed are without comments from the beginning, as changed ones are.
    """
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, path)
        if name.startswith(tuple(f"{package}/" for package in PACKAGES)) and path.suffix == ".py":
            path.write_text(ast.unparse(ast.parse(path.read_text())))


@contextlib.contextmanager
def _change(copy: Path, name: str, site: Site) -> Iterator[None]:
    """The changed file, with nothing compiled of it; then the file as it was.

    Python believes a compiled file whose time and size are those of the source; Numba looks at the kernels' file alone,
    and not at those that it imports.
    """
    path, kernels = copy / name, copy / Path(KERNELS).parent / "__pycache__"
    source, stamp, kept = path.read_text(), path.stat(), kernels.with_suffix(".kept")
    moved = kernels.is_dir() and name in distances(copy, KERNELS)
    if moved:
        kernels.rename(kept)
    try:
        _forget(path)
        path.write_text(changed(source, site.index))
        yield
    finally:
        path.write_text(source)
        os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        _forget(path)
        if moved:
            shutil.rmtree(kernels, ignore_errors=True)
            kept.rename(kernels)


def _forget(path: Path) -> None:
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()


def _spent() -> float:
    """Seconds of the processor of all tests."""
    return sum(os.times()[2:4])


def _tested(copy: Path, tests: list[str], which: str = "not slow") -> tuple[int, str]:
    """How the tests end in a copy of this process, negative for a signal, and what they print."""
    with tempfile.TemporaryFile("w+") as said:
        child = os.fork()
        if child == 0:
            _test(copy, tests, which, said.fileno())
        try:
            status = _ended(child)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)  # what it started and left
        said.seek(0)
        code, text = os.waitstatus_to_exitcode(status), said.read()
        if code in (BROKEN, USAGE):
            raise RuntimeError(f"no test ran: {text}")
        return 0 if code == NONE else code, text


def _ended(child: int) -> int:
    """The status of a copy of this process; one that waits for ever is ended, as if it had computed for ever."""
    for _ in range(round(PATIENCE / LOOK)):  # looks are counted: a clock goes on while somebody stops this process
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        time.sleep(LOOK)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return signal.SIGXCPU


def _test(copy: Path, tests: list[str], which: str, console: int) -> None:
    code = BROKEN
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.dup2(console, 1)
        os.dup2(console, 2)
        os.chdir(copy)
        for module in [name for name in sys.modules if name.split(".")[0] in ("benchmarks", "tests")]:
            del sys.modules[module]
        sys.path[:] = [str(copy), *(place for place in sys.path if place not in ("", str(ROOT)))]
        os.environ["PYTHONPATH"] = str(copy)
        resource.setrlimit(resource.RLIMIT_CPU, (LONGEST, LONGEST + 5))
        import pytest

        quiet = ["-x", "-q", "--tb=no", "-p", "no:cacheprovider", "-p", "no:xdist", "--hypothesis-seed=0"]
        code = int(pytest.main([*quiet, "-m", which, *tests]))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main(
    output: Annotated[Path, typer.Argument(help="Verdicts, as JSON; those that are there already are kept.")],
    total: Annotated[int, typer.Option(help="Changes, with those that are there.")] = 300,
    seed: Annotated[int, typer.Option(help="Of the sample.")] = 0,
    seconds: Annotated[int, typer.Option(help="Of the processor, after which no more tests of a change begin.")] = 60,
    minutes: Annotated[float, typer.Option(help="Begin no further change after so many.")] = 1e6,
    again: Annotated[bool, typer.Option("--again", help="Judge those again that were not killed.")] = False,
) -> None:
    """Print the share of changes that tests notice, and those that they don't."""
    for module in ("h5py", "jinja2", "nir", "numba", "onnx", "pydantic", "scipy.signal", NEURONS):
        import_module(module)  # once for all copies of this process
    sys.dont_write_bytecode = False  # of the copy, for all changes of other files
    end = time.monotonic() + 60 * minutes
    found = places()
    kept = json.loads(output.read_text()) if output.is_file() else {}
    verdicts: dict[str, Any] = {key: verdict for key, verdict in kept.items() if key in found}
    due = [key for key, verdict in verdicts.items() if again and verdict["verdict"] != KILLED]
    due += [key for key in in_turn(found, seed) if key not in verdicts][: max(total - len(verdicts), 0)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and leave no folder behind
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        copy = Path(folder)
        _copy(copy)
        judge = Judge(copy, seconds)
        for key in due:
            if time.monotonic() < end:
                verdicts[key] = judge.judged(*found[key])
                output.write_text(json.dumps(verdicts, indent=1) + "\n")
                print(verdicts[key]["verdict"], key, flush=True)
    numbers = Counter(each["verdict"] for each in verdicts.values())
    print(f"{numbers[KILLED]} of {len(verdicts)} changes noticed ({numbers[KILLED] / len(verdicts):.1%})")
    for key, each in verdicts.items():
        if each["verdict"] != KILLED:
            print(f"{each['verdict']}: {key}")


if __name__ == "__main__":
    typer.run(main)
