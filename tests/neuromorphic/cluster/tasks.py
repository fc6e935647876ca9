"""Tasks that tests give to workers, which import them from here."""

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MARKS = "SPIKECLIP_TEST_MARKS"
"""Names the folder in which each task marks that it began."""


def die_the_first_time(name: str) -> None:
    """End this process without a word, unless a task of that name did so already."""
    try:
        (Path(os.environ[MARKS]) / name).touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Summing:
    """The sum of numbers; its worker dies the first time that a shard begins with one of `deadly`."""

    deadly: tuple[int, ...] = ()

    def __call__(self, numbers, progress):
        if int(numbers[0]) in self.deadly:
            die_the_first_time(str(numbers[0]))
        return int(numbers.sum()), np.sqrt(numbers)


@dataclass(frozen=True)
class Imported:
    """The same, in a worker that has imported a module already."""

    module: str

    def __call__(self, numbers, progress):
        assert self.module in sys.modules
        return Summing()(numbers, progress)


def refuse(numbers, progress):
    raise ValueError(f"no shard from {numbers[0]} on")


def die(numbers, progress):
    os.kill(os.getpid(), signal.SIGKILL)
