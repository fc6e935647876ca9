"""Runs workers over many cases, and goes on behind those that kill or hang one."""

import selectors
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

SILENCE = 6.0
"""Seconds after which a case counts as hung."""


@dataclass
class Findings:
    """What became of the cases of one file.

    Attributes:
        outcomes: how many of each kind.
        bugs: by seed, exceptions that are no refusal.
        fatal: by seed, how a case ended the worker: `hung`, or the signal.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    bugs: dict[int, str] = field(default_factory=dict)
    fatal: dict[int, str] = field(default_factory=dict)

    @property
    def cases(self) -> int:
        return sum(self.outcomes.values()) + len(self.bugs) + len(self.fatal)


def fuzz(
    file: Path,
    first: int,
    last: int,
    kind: str = "damaged",
    silence: float = SILENCE,
    progress: Callable[[int], None] = lambda seed: None,
) -> Findings:
    """Judge the variants of `file` with the numbers from `first` to before `last` (`worker.VARIANTS`)."""
    found = Findings()
    while first < last:
        first = _worker([kind, str(file), str(first), str(last)], silence, found, progress)
    return found


def _worker(arguments: list[str], silence: float, found: Findings, progress: Callable[[int], None]) -> int:
    """Run one worker as far as it comes; returns the number to go on with."""
    first, last = int(arguments[2]), int(arguments[3])
    command = [sys.executable, "-m", "tests.fuzz.worker", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        seed = first - 1
        for line in _lines(process, silence):
            number, _, outcome = line.partition(" ")
            seed = int(number)
            progress(seed)
            if outcome.startswith("bug "):
                found.bugs[seed] = outcome
            else:
                found.outcomes[outcome] += 1
        hung = process.poll() is None and seed + 1 < last
        process.kill() if hung else process.wait()
        if seed + 1 < last:
            process.wait()
            if process.returncode > 0:
                raise RuntimeError(process.stderr.read() if process.stderr else "")
            found.fatal[seed + 1] = "hung" if hung else f"signal {-process.returncode}"
    return min(seed + 2, last)


def _lines(process: subprocess.Popen[str], silence: float):
    """Whole lines of a worker's output, until it ends or is silent for too long."""
    assert process.stdout is not None
    rest, heard = "", time.monotonic()
    stream = process.stdout.buffer.raw
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while time.monotonic() - heard < silence:
            if not selector.select(0.2):
                continue
            chunk = stream.read(65536)
            if not chunk:
                return
            heard = time.monotonic()
            *whole, rest = (rest + chunk.decode()).split("\n")
            yield from whole
