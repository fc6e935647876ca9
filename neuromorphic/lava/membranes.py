"""Final membranes of a population, after the last step of every image, written to a file."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class MembraneFile:
    """Keeps v of the steps `t = latency + T - 1 mod T`, in which a population answers the last frame of an image.

    Attributes:
        path: an existing `.npy`, int32 `[N, *shape]`.
        time_steps: T.
        latency: of the population.
        batch: images at a time.
    """

    path: Path
    time_steps: int
    latency: int
    batch: int

    @cached_property
    def _file(self) -> NDArray[np.int32]:
        return np.load(self.path, mmap_mode="r+")  # type: ignore[no-any-return]

    def keep(self, time_step: int, v: NDArray[Any]) -> None:
        """Write `v`, `[batch, *shape]` or of a single image, if an image ends in this step.

        Args:
            time_step: Lava's, counted from 1.
            v: the membranes after this step, integers.
        """
        slot, step = divmod(time_step - 1 - self.latency, self.time_steps)
        first = slot * self.batch
        if step == self.time_steps - 1 and 0 <= first < len(self._file):
            here = self._file[first : first + self.batch]
            here[...] = v.reshape(self.batch, *here.shape[1:])[: len(here)]
