"""The end of commands when something breaks: a sentence, nothing left behind, nothing half-written.

Each fault is brought about while a command runs, as often as asked for, and a table says how the command ended, how
soon, what it said and what it left: processes, temporary files, shared memory, outputs that are not whole.  A full
disk and a full /dev/shm are small ones of their own, made with `unshare`; where there is none, they are left out.

    python -m benchmarks.faults --tries 20
"""

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
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import nir
import numpy as np
import typer

from neuromorphic.errors import RefusedInput
from neuromorphic.ir.trace import Trace
from spikeclip.console import results
from tests.neuromorphic.graphs import small_net

MARK, BEGUN = "SPIKECLIP_FAULTS", "begun"
SPIKECLIP = (
    sys.executable,
    "-c",
    f"import os; from spikeclip.entry import main; open(os.environ[{MARK!r}] + '/{BEGUN}', 'w').close(); main()",
)
"""The command, which leaves a note in its folder where Python hands over to it."""

PATIENCE = 400.0
"""Seconds after a fault by which a command has ended."""


@dataclass
class Run:
    """A command that was started in a folder of its own.

    Attributes:
        folder: with `tmp` for temporary files and `out` for what it writes.
        process: it.
        fault: when the fault came, by the monotonic clock.
    """

    folder: Path
    process: "subprocess.Popen[bytes]"
    fault: float = field(default_factory=time.monotonic)

    def strike(self, pids: list[int], how: signal.Signals) -> None:
        """Send a signal to those processes that still live."""
        self.fault = time.monotonic()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, how)

    def others(self) -> list[int]:
        """The living processes that the command started."""
        mark, found = f"{MARK}={self.folder}".encode(), []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                state = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
                if state not in "ZX" and mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return sorted(set(found) - {self.process.pid})


@dataclass
class Row:
    """A line of the table: a fault, and what came of it in all tries."""

    fault: str
    expected: Collection[int]
    exits: Counter[int] = field(default_factory=Counter)
    longest: float = 0.0
    left: list[str] = field(default_factory=list)
    said: str = ""

    def __str__(self) -> str:
        exits = ", ".join(f"{code}{'' if n == 1 else f' ({n} times)'}" for code, n in sorted(self.exits.items()))
        left = "; ".join(dict.fromkeys(self.left)) or "nothing"
        return f"| {self.fault} | {exits} | {self.longest:.1f} s | {left} | {self.said} |"

    @property
    def wrong(self) -> bool:
        """Whether it ended in another way than expected, or left something."""
        return bool(self.left) or not set(self.exits) <= set(self.expected)


def start(
    command: list[str], root: Path, limits: Callable[[], None] | None = None, wrapper: tuple[str, ...] = ()
) -> Run:
    """Start `command`; `OUT` and `TMP` in its arguments are its own folders."""
    folder = Path(tempfile.mkdtemp(dir=root))
    for name in ("tmp", "out"):
        (folder / name).mkdir()
    words = [word.replace("OUT", str(folder / "out")) for word in command]
    own = {MARK: str(folder), "TMPDIR": str(folder / "tmp")}
    environment = {**os.environ, **own, "PYTHONDONTWRITEBYTECODE": "1"}  # Python believes half-written bytecode later
    process = subprocess.Popen(
        [*(word.replace("TMP", str(folder / "tmp")) for word in wrapper), *words],
        stdout=subprocess.PIPE,  # which has room for what a command says, whatever the limit of its files
        stderr=subprocess.STDOUT,
        env=environment,
        preexec_fn=lambda: _prepare(limits),
    )
    return Run(folder, process)


def _prepare(limits: Callable[[], None] | None) -> None:
    """A command that is started in the background ignores SIGINT, and so would what it starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if limits is not None:
        limits()


def end(run: Run, row: Row) -> None:
    """Wait for the command and for all that it started, and note in the table how it went."""
    try:
        code = run.process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        row.left.append(f"still ran after {PATIENCE:.0f} s")
        run.process.kill()
        code = run.process.wait()
    row.exits[code] += 1
    row.longest = max(row.longest, time.monotonic() - run.fault)
    until = time.monotonic() + 30
    while run.others() and time.monotonic() < until:
        time.sleep(0.1)
    said = _said(run)
    lines = re.sub(rf"{run.folder.parent}/(\S*/)?", "", said).splitlines()
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    row.said = next(iter(errors), row.said)[:110].replace("|", "/")
    row.left += _left(run, said)
    run.strike(run.others(), signal.SIGKILL)
    shutil.rmtree(run.folder)


def _said(run: Run) -> str:
    """All that a command that is over has printed; something else may hold its console open still."""
    stream = run.process.stdout
    assert stream is not None  # as `start` made it
    with stream:
        os.set_blocking(stream.fileno(), False)
        return (stream.read() or b"").decode(errors="replace")


def _left(run: Run, said: str) -> Iterator[str]:
    """The leavings of a command that is over, in words."""
    if "Traceback" in said:
        yield "a traceback"
    if others := run.others():
        yield f"{len(others)} processes"
    for path in (run.folder / "tmp").rglob("*"):
        yield f"tmp/{path.name}"
    for path in (run.folder / "out").iterdir():
        if not _is_whole(path):
            yield f"{path.name}, not whole"


def _is_whole(path: Path) -> bool:
    try:
        if path.suffix == ".json":
            json.loads(path.read_text())
            return True
        Trace.read(path)
    except (ValueError, RefusedInput):
        return False
    return True


def segments() -> set[str]:
    """Shared memory that no living process maps."""
    mapped = set()
    for entry in Path("/proc").glob("[0-9]*/maps"):
        with suppress(OSError):
            mapped |= {line.split(maxsplit=5)[-1] for line in entry.read_text().splitlines() if "/dev/shm/" in line}
    return {str(path) for path in Path("/dev/shm").glob("psm_*")} - mapped


def lasting(before: set[str]) -> set[str]:
    """Shared memory that is new and that nobody maps for half a minute; runs beside this one map theirs sooner."""
    leaked, until = segments() - before, time.monotonic() + 30
    while leaked and time.monotonic() < until:
        time.sleep(0.5)
        leaked &= segments()
    return leaked


def limited(kind: int, most: int) -> Callable[[], None]:
    """Sets a limit of the system for the command that is to be started."""
    return lambda: resource.setrlimit(kind, (most, most))


def small(place: str, size: str) -> tuple[str, ...]:
    """The words that run a command where `place` is a disk of its own, so large."""
    script = f'mount -t tmpfs -o size={size} small {place} && mkdir -p {place}/out && exec "$0" "$@"'
    return ("unshare", "-rm", "sh", "-c", script)


def healthy(command: list[str], root: Path) -> float:
    """Seconds that the command takes when nothing breaks."""
    row = Row("none", (0,))
    run = start(command, root)
    end(run, row)
    if row.wrong:
        raise typer.BadParameter(f"without any fault: {row}")
    return row.longest


def struck(
    command: list[str], root: Path, tries: int, row: Row, how: signal.Signals, victims: Callable[[Run], list[int]]
) -> Row:
    """A signal comes to what `victims` names, at random moments of the command's life, which Python's own start is not.

    A command that was over by then is no try: the next one is taken to live as long as that one did.
    """
    seconds = healthy(command, root)
    while row.exits.total() < tries:
        run, unhurt = start(command, root), Row("none", (0,))
        while run.process.poll() is None and not (run.folder / BEGUN).exists():
            time.sleep(0.001)
        run.fault = time.monotonic()
        moment = run.fault + random.uniform(0, seconds)
        while run.process.poll() is None and (time.monotonic() < moment or not victims(run)):
            time.sleep(0.01)
        if run.process.poll() is None:
            run.strike(victims(run), how)
            end(run, row)
        else:
            end(run, unhurt)
            seconds = unhurt.longest
            row.left += [f"without any fault: {unhurt}"] if unhurt.wrong else []
    return row


def itself(run: Run) -> list[int]:
    """The process of the command."""
    return [run.process.pid]


def one_of_its_own(run: Run) -> list[int]:
    """One of the processes that the command has started, if any lives."""
    others = run.others()
    return random.sample(others, min(1, len(others)))


def once(command: list[str], root: Path, row: Row, *, at_once: int = 1, **options: object) -> Row:
    """The command runs under a limit, or several times at once."""
    runs = [start(command, root, **options) for _ in range(at_once)]  # type: ignore[arg-type]
    for run in runs:
        end(run, row)
    return row


def table(root: Path, tries: int) -> Iterator[tuple[Row, Callable[[], Row]]]:
    """The faults, one after the other: an empty row, and what fills it."""
    model, frames = str(root / "model.nir"), str(root / "frames.npy")
    nir.write(model, small_net())
    np.save(frames, np.ones((4, 2, 6, 6), np.float32))
    lava = [*SPIKECLIP, "simulate", model, "--frames", frames, "-o", "OUT/run.h5", "--json", "OUT/run.json"]
    fast = [*lava, "--backend", "fast"]
    energy = [*SPIKECLIP, "energy", model, "--frames", frames, "--json", "OUT/energy.json"]
    said = {id(lava): "simulate", id(fast): "simulate --backend fast", id(energy): "energy"}
    row = Row(f"a process of Lava's killed, {tries} random moments", (0, 2, 3))
    yield row, partial(struck, lava, root, tries, row, signal.SIGKILL, one_of_its_own)
    for how in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        for command, times in ((lava, tries), (fast, -(-tries // 4)), (energy, -(-tries // 4))):
            ends = (0, -how, 130) if how == signal.SIGINT else (0, -how)  # -2: while Python ends
            row = Row(f"{how.name} to {said[id(command)]}, {times} random moments", ends)
            yield row, partial(struck, command, root, times, row, how, itself)
    for command, size in ((lava, 1 << 10), (lava, 64 << 10), (lava, 1 << 20), (fast, 1 << 10), (energy, 4 << 10)):
        row = Row(f"files of at most {size >> 10} KiB, {said[id(command)]}", (0, 2, 3))
        yield row, partial(once, command, root, row, limits=limited(resource.RLIMIT_FSIZE, size))
    for most in (16, 64, 256):
        row = Row(f"`ulimit -n {most}`", (0, 2, 3))
        yield row, partial(once, lava, root, row, limits=limited(resource.RLIMIT_NOFILE, most))
    for command, most in ((lava, 256), (lava, 512), (lava, 1024), (fast, 256), (energy, 256)):
        row = Row(f"`ulimit -v` of {most} MiB, {said[id(command)]}", (0, 2, 3))
        yield row, partial(once, command, root, row, limits=limited(resource.RLIMIT_AS, most << 20))
    if shutil.which("unshare") and not subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        for size in ("64k", "1m", "16m"):
            row = Row(f"/dev/shm of {size}", (0, 3))
            yield row, partial(once, lava, root, row, wrapper=small("/dev/shm", size))
            row = Row(f"a disk of {size} for temporary files", (0, 2, 3))
            yield row, partial(once, lava, root, row, wrapper=small("TMP", size))
        out = [word.replace("OUT", str(root / "disk" / "out")) for word in lava]
        (root / "disk").mkdir()
        row = Row("a disk of 64k for outputs", (2,))
        yield row, partial(once, out, root, row, wrapper=small(str(root / "disk"), "64k"))
    both = [word.replace("OUT", str(root)) for word in lava]
    row = Row("two runs at once that write the same files", (0,))
    yield row, partial(once, both, root, row, at_once=2)


def main(
    tries: Annotated[int, typer.Option(min=1, help="Random moments of each fault that has some.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the random moments.")] = 0,
    only: Annotated[str, typer.Option(help="Only faults that are called so, or in part.")] = "",
) -> None:
    """Print the table of faults; exit code 1 where one ended in another way than it should, or left something."""
    random.seed(seed)
    wrong, before = [], segments()
    results.print("| fault | exit codes | longest, from fault to end | left | said |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        for row, fill in table(Path(folder), tries):
            if only not in row.fault:
                continue
            fill()
            if leaked := lasting(before):
                row.left.append(f"{len(leaked)} segments of shared memory")
            results.print(str(row), markup=False, soft_wrap=True)
            wrong += [row.fault] if row.wrong else []
    if wrong:
        results.print(f"wrong: {', '.join(wrong)}", markup=False)
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
