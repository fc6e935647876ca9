"""Small changes of the code, each judged by the tests of its room: `python -m benchmarks.mutations OUT.json`.

The sample has as many changes of each kind, since most places are numbers and arguments.

The project is copied, one file of the copy is changed (`sites`), and the tests of its room run until one fails.  Files
that draw are left out, as people judge what they draw, and so are command lines.  An interrupted run goes on where it
was: the same seed has the same sample.
"""

import contextlib
import json
import os
import random
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
from importlib import import_module
from itertools import islice, zip_longest
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.mutations.sites import Site, changed, sites

ROOT = Path(__file__).resolve().parents[2]

ROOMS = {
    "energy": ("tests/energy",),
    "export/frontend": ("tests/export/frontend",),
    "export/onnx": ("tests/export/test_onnx*.py",),
    "export": ("tests/export/test_*.py",),
    "neuromorphic/ops": (
        *("tests/neuromorphic/ops", "tests/neuromorphic/execution", "tests/properties/test_compiled.py"),
        "tests/neuromorphic/reading/test_lenience.py",
    ),
    "neuromorphic/execution": ("tests/neuromorphic/execution", "tests/properties/test_compiled.py"),
    "neuromorphic/analysis": ("tests/neuromorphic/analysis", "tests/neuromorphic/execution", "tests/neuromorphic/lava"),
    "neuromorphic/ir": ("tests/neuromorphic/ir", "tests/neuromorphic/reading"),
    "neuromorphic/reading": ("tests/neuromorphic/reading", "tests/fuzz"),
    "neuromorphic/loihi2": ("tests/neuromorphic/loihi2", "tests/properties/test_loihi2*.py"),
    "neuromorphic/lava": ("tests/neuromorphic/lava",),
    "neuromorphic/placement": ("tests/neuromorphic/placement",),
    "neuromorphic/inspection": ("tests/neuromorphic/inspection",),
    "neuromorphic/deploy": ("tests/neuromorphic/deploy",),
    "neuromorphic/cluster": ("tests/neuromorphic/cluster",),
    "neuromorphic/runs": ("tests/neuromorphic/runs", "tests/test_labels_by_name.py"),
    "neuromorphic/targets": ("tests/neuromorphic/targets", "tests/neuromorphic/inspection"),
    "neuromorphic": ("tests/neuromorphic/test_*.py", "tests/test_refusals.py"),
}
"""What judges a file: of the longest beginning of its path."""

DRAW = ("pages", "page", "picture", "drawing", "layout", "heatmap", "figures", "break_even", "scales", "cli")
"""Of files and folders that are left out."""

BROKEN, USAGE, NONE = 70, 4, 5
"""Exit codes of a copy of this process that came to no test; of pytest that was called wrongly; and found no test."""

KILLED, SURVIVED, LATE = "killed", "survived", "out of time"


def sample(count: int, seed: int) -> list[tuple[str, Site]]:
    """So many places of the project, each with its file; of every kind as many, in turn."""
    found: list[tuple[str, Site]] = []
    for package in ("energy", "export", "neuromorphic"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT)
            if not set(DRAW) & {word for part in name.with_suffix("").parts for word in (part, part.split("_")[0])}:
                found += [(name.as_posix(), site) for site in sites(path.read_text())]
    random.Random(seed).shuffle(found)
    kinds: dict[str, list[tuple[str, Site]]] = {}
    for each in found:
        kinds.setdefault(each[1].kind, []).append(each)
    in_turn = (each for turn in zip_longest(*kinds.values()) for each in turn if each is not None)
    return list(islice(in_turn, count))


def judges(copy: Path, name: str) -> list[str]:
    """Files of tests for the file `name`: first such as are called like it."""
    room = max((room for room in ROOMS if name.startswith(room)), key=len)
    found: list[Path] = []
    for pattern in ROOMS[room]:
        found += sorted(copy.glob(f"{pattern}/**/test_*.py" if (copy / pattern).is_dir() else pattern))
    words = {word for part in Path(name).with_suffix("").parts[1:] for word in part.split("_")}
    alike = [len(words & {word.removesuffix("s") for word in path.stem.split("_")} | words & {*path.stem.split("_")})
             for path in found]  # fmt: skip
    order = sorted(range(len(found)), key=lambda i: (-alike[i], found[i].stat().st_size))
    return list(dict.fromkeys(found[i].relative_to(copy).as_posix() for i in order))


NEAREST = 2
"""Files of tests that run first, those that are called most like the file: most changes end there."""


class Judge:
    """The tests of a copy of the project.

    Attributes:
        copy: its folder.
        seconds: of the processor, for the tests of one change.
        broken: tests that fail without any change.
        healthy: tests that are known not to.
    """

    def __init__(self, copy: Path, seconds: int) -> None:
        self.copy, self.seconds = copy, seconds
        self.broken: set[str] = set()
        self.healthy: set[str] = set()

    def judged(self, name: str, site: Site) -> dict[str, Any]:
        """What the tests say of one change."""
        path = self.copy / name
        source, start, tests = path.read_text(), time.monotonic(), judges(self.copy, name)
        try:
            path.write_text(changed(source, site.index))
            _forget(path)
            code, by = self._outcome(tests[:NEAREST])
            if code == 0:
                code, by = self._outcome(tests[NEAREST:])
        finally:
            path.write_text(source)
            _forget(path)
        return {
            "file": name,
            "line": site.line,
            "kind": site.kind,
            "change": site.change,
            "verdict": SURVIVED if code == 0 else LATE if code == -signal.SIGXCPU else KILLED,
            "by": by or f"exit code {code}",
            "seconds": round(time.monotonic() - start, 1),
        }

    def _outcome(self, tests: list[str]) -> tuple[int, str]:
        """The exit code of tests until one fails, and that one; without those that fail on the project as it is."""
        while tests:
            code, said = _tested(self.copy, [*self._without_broken(), *tests], self.seconds)
            named = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", said, re.MULTILINE)
            by = "" if named is None else named[1]
            if code == 0 or not by or by in self.broken or self._is_healthy(by):
                return code, by
        return 0, ""

    def _without_broken(self) -> list[str]:
        return [word for by in sorted(self.broken) for word in ("--deselect" if "::" in by else "--ignore", by)]

    def _is_healthy(self, test: str) -> bool:
        """Whether a test, or a file of tests, passes on the project as it is: on a copy of its own."""
        if test not in self.healthy and test not in self.broken:
            with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
                _copy(Path(folder))
                code, _ = _tested(Path(folder), [test], self.seconds)
            (self.broken if code else self.healthy).add(test)
        return test in self.healthy


def _copy(folder: Path) -> None:
    """The files of the project that git knows, as they are now in its working tree."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)


def _forget(path: Path) -> None:
    """Python believes a compiled file whose time and size are those of the source."""
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
        compiled.unlink()


def _tested(copy: Path, tests: list[str], seconds: int) -> tuple[int, str]:
    """How the tests end in a copy of this process, negative for a signal, and what they print."""
    with tempfile.TemporaryFile("w+") as said:
        child = os.fork()
        if child == 0:
            _test(copy, tests, seconds, said.fileno())
        try:
            _, status = os.waitpid(child, 0)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)  # what it started and left
        said.seek(0)
        code, text = os.waitstatus_to_exitcode(status), said.read()
        if code in (BROKEN, USAGE):
            raise RuntimeError(f"no test ran: {text}")
        return 0 if code == NONE else code, text


def _test(copy: Path, tests: list[str], seconds: int, console: int) -> None:
    code = BROKEN
    try:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.dup2(console, 1)
        os.dup2(console, 2)
        os.chdir(copy)
        for module in [name for name in sys.modules if name.split(".")[0] in ("benchmarks", "tests")]:
            del sys.modules[module]
        sys.path[:] = [str(copy), *(place for place in sys.path if place not in ("", str(ROOT)))]
        os.environ["PYTHONPATH"] = str(copy)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
        import pytest

        quiet = ["-x", "-q", "--tb=no", "-p", "no:cacheprovider", "-p", "no:xdist", "--hypothesis-seed=0"]
        code = int(pytest.main([*quiet, "-m", "not slow and not alone", *tests]))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main(
    output: Annotated[Path, typer.Argument(help="Verdicts, as JSON; those that are there already are kept.")],
    count: Annotated[int, typer.Option(help="Changes.")] = 300,
    seed: Annotated[int, typer.Option(help="Of the sample.")] = 0,
    seconds: Annotated[int, typer.Option(help="Of the processor, for the tests of one change.")] = 240,
    minutes: Annotated[float, typer.Option(help="Begin no further change after so many.")] = 1e6,
    again: Annotated[bool, typer.Option("--again", help="Judge those again that were not killed.")] = False,
) -> None:
    """Print the share of changes that tests notice, and those that they don't."""
    for module in ("h5py", "nir", "pydantic", "scipy.signal", "spikingjelly.activation_based.neuron"):
        import_module(module)  # once for all copies of this process
    verdicts: dict[str, Any] = json.loads(output.read_text()) if output.is_file() else {}
    end = time.monotonic() + 60 * minutes
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and leave no folder behind
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        copy = Path(folder)
        _copy(copy)
        judge = Judge(copy, seconds)
        for name, site in sample(count, seed):
            key = f"{name}:{site.line}: {site.kind}: {site.change}"
            known = verdicts.get(key)
            if time.monotonic() > end or (known and (not again or known["verdict"] == KILLED)):
                continue
            verdicts[key] = judge.judged(name, site)
            output.write_text(json.dumps(verdicts, indent=1) + "\n")
            print(verdicts[key]["verdict"], key, flush=True)
    total = Counter(each["verdict"] for each in verdicts.values())
    print(f"{total[KILLED]} of {sum(total.values())} changes noticed ({total[KILLED] / sum(total.values()):.1%})")
    for key, each in verdicts.items():
        if each["verdict"] != KILLED:
            print(f"{each['verdict']}: {key}")


if __name__ == "__main__":
    typer.run(main)
