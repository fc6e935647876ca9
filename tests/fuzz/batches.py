"""Runs workers over many cases, and goes on behind those that kill or hang one."""

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


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
    file: Path, first: int, last: int, kind: str = "damaged", progress: Callable[[int], None] = lambda seed: None
) -> Findings:
    """Judge the variants of `file` with the numbers from `first` to before `last` (`worker.VARIANTS`)."""
    found = Findings()
    while first < last:
        first = _worker([kind, str(file), str(first), str(last)], found, progress)
    return found


def _worker(arguments: list[str], found: Findings, progress: Callable[[int], None]) -> int:
    """Run one worker as far as it comes; returns the number to go on with."""
    first, last = int(arguments[2]), int(arguments[3])
    command = [sys.executable, "-m", "tests.fuzz.worker", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        seed = first - 1
        for line in process.stdout:
            number, _, outcome = line.partition(" ")
            if not outcome.endswith("\n"):  # it ended within this case
                break
            seed, outcome = int(number), outcome.rstrip("\n")
            progress(seed)
            if outcome.startswith("bug "):
                found.bugs[seed] = outcome
            else:
                found.outcomes[outcome] += 1
        process.wait()
        if seed + 1 < last:
            if process.returncode >= 0:
                raise RuntimeError(process.stderr.read() if process.stderr else "")
            hung = process.returncode == -signal.SIGXCPU
            found.fatal[seed + 1] = "hung" if hung else f"signal {-process.returncode}"
    return min(seed + 2, last)
