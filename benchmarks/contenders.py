"""What benchmarks time side by side, each in a process of its own, with as many threads as it is to take.

In one process, threads of the one that ran before wait for work on the core that the next one needs: PyTorch and ONNX
Runtime took half as long again, and a library that starts with one thread uses two of them badly later.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.random_checkpoint import find_encoder
from spikeclip.checkpoint import Checkpoint

BATCHES = (1, 4, 16, 64)
"""Images at a time that libraries are tried with."""

Run = Callable[[], Any]


@dataclass(frozen=True)
class Shown:
    """The encoder and the images that all are timed on.

    Attributes:
        checkpoint: a path, the name of one that ships, or the name of a preset where its weights are `random`.
        images: SPEC of images.
        number: of images.
        random: whether to take random weights.
    """

    checkpoint: str
    images: str
    number: int
    random: bool = False

    def load(self) -> tuple[Checkpoint, NDArray[np.uint8]]:
        """The encoder, and images uint8 `[N, S, S, C]`: where there are fewer, again from the first one on."""
        loaded, images = find_encoder(self.checkpoint, self.random, self.images, self.number)
        return loaded, images[np.arange(self.number) % len(images)]


def pytorch(shown: Shown, threads: int) -> dict[str, Run]:
    """What is timed of PyTorch, by name: each runs all images."""
    loaded, images = shown.load()
    pixels = torch.from_numpy(loaded.preprocessing(images))
    torch.set_num_threads(threads)

    def run(size: int) -> None:
        with torch.no_grad():
            for batch in pixels.split(size):
                loaded.model(batch)

    return {f"PyTorch, {size} at a time, {threads} threads": partial(run, size) for size in BATCHES}


class Contender:
    """A process that runs what it is told to, and then waits without taking a core.

    Args:
        make: what it can run, of `shown` and a number of threads.
        shown: the encoder and the images.
        threads: that its libraries may take from their start.
    """

    def __init__(self, make: Callable[[Shown, int], dict[str, Run]], shown: Shown, threads: int) -> None:
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, make, shown, threads), daemon=True)
        before = os.environ.get("OMP_NUM_THREADS")
        os.environ["OMP_NUM_THREADS"] = str(threads)
        self.process.start()
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
        theirs.close()
        self.names: list[str] = self.pipe.recv()

    def timed(self, name: str) -> tuple[float, float]:
        """Seconds by the clock and of the processor that one run takes."""
        self.pipe.send(name)
        found: tuple[float, float] = self.pipe.recv()
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # it has ended already
            self.pipe.send(None)
        self.process.join()


def _serve(pipe: Connection, make: Callable[[Shown, int], dict[str, Run]], shown: Shown, threads: int) -> None:
    runs = make(shown, threads)
    pipe.send(list(runs))
    for name in iter(pipe.recv, None):
        run = runs[name]
        clock, processor = time.perf_counter(), time.process_time()
        run()
        pipe.send((time.perf_counter() - clock, time.process_time() - processor))
