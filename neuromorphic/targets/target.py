"""Targets, which run graphs: the reference, the fast executor, and Lava; a chip would be a further one.

A target lists all reasons why it can't run a graph before it runs one, and returns the same kind of trace as all
others.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar

from neuromorphic.cluster.ranges import Progress, silent
from neuromorphic.errors import RefusedInput

if TYPE_CHECKING:  # their names are shown by --help, which loads no array
    import numpy as np
    from numpy.typing import NDArray

    from neuromorphic.ir.graph import Graph
    from neuromorphic.ir.inputs import Given
    from neuromorphic.ir.trace import Trace


@dataclass(frozen=True)
class Target(ABC):
    """Runs a graph.

    Attributes:
        name: for `--backend`.
        says: a description in a few words, for `--help`.
        restarts: whether running images in several calls costs no more than in one; else it takes long to start.
    """

    name: ClassVar[str]
    says: ClassVar[str]
    restarts: ClassVar[bool] = True

    @abstractmethod
    def refuses(self, graph: "Graph") -> list[str]:
        """All reasons why it can't run `graph`, one sentence each; none if it can."""

    @abstractmethod
    def _parts(self, graph: "Graph", frames: "Given", time_steps: int | None, progress: Progress) -> "Iterator[Trace]":
        """As of `parts`, for a graph that it doesn't refuse."""

    def run(
        self,
        graph: "Graph",
        frames: "Given",
        time_steps: int | None = None,
        progress: Progress = silent,
    ) -> "Trace":
        """The trace of `graph` on `frames`.

        Args:
            graph: of floats or integers.
            frames: float32 `[N, *input shape]`, each presented for T steps, or `[N, T, *input shape]`; for several
                inputs, such arrays by the name of the input.
            time_steps: T, where neither the frames nor the graph's metadata say.
            progress: told (images done, images in all).

        Raises:
            RefusedInput: it refuses the graph, with all reasons; or the frames don't fit it.
            SimulationFailed: the process that runs it died, or ran over a limit.
        """
        from neuromorphic.ir.trace import Trace

        return Trace.joined(list(self.parts(graph, frames, time_steps, progress)))

    def parts(
        self,
        graph: "Graph",
        frames: "Given",
        time_steps: int | None = None,
        progress: Progress = silent,
    ) -> "Iterator[Trace]":
        """The same as traces of some images each, in their order, while the run goes on."""
        from neuromorphic.execution.frames import per_step

        if reasons := self.refuses(graph):
            raise RefusedInput("; ".join(reasons))
        shown = per_step(graph, frames, time_steps)
        return _of_frames(self._parts(graph, frames, time_steps, progress), graph, shown)


def _of_frames(parts: "Iterator[Trace]", graph: "Graph", frames: "NDArray[np.float32]") -> "Iterator[Trace]":
    """`parts`, each with the hashes of the frames `[N, T, ...]` that it ran on."""
    from neuromorphic.analysis.fingerprint import of_frames
    from neuromorphic.loihi2.integers import ungraded

    done = 0
    for part in parts:
        read = frames[done : done + part.images]
        yield replace(part, frames=of_frames(ungraded(graph, read)))
        done += part.images


class Executor(Target):
    """A target in numpy, `execution.NAME`, which runs every graph; its fields are arguments of `traces` there."""

    def refuses(self, graph: "Graph") -> list[str]:
        """No graph."""
        return []

    def _parts(self, graph: "Graph", frames: "Given", time_steps: int | None, progress: Progress) -> "Iterator[Trace]":
        traces = import_module(f"neuromorphic.execution.{self.name}").traces
        return traces(graph, frames, time_steps, progress=progress, **vars(self))  # type: ignore[no-any-return]


class Reference(Executor):
    """The definition of the semantics, in float64; it runs every graph, slowly."""

    name: ClassVar = "reference"
    says: ClassVar = "the numpy definition"


@dataclass(frozen=True)
class Fast(Executor):
    """The same in fast kernels: numpy's, or compiled ones in long runs.

    Attributes:
        cores: number of cores for compiled kernels; None for all that the process may use.
    """

    name: ClassVar = "fast"
    says: ClassVar = "fast kernels, compiled in long runs"

    cores: int | None = None


@dataclass(frozen=True)
class Lava(Target):
    """Lava, step by step as on the chip, in processes of its own (`lava.simulation`).

    Attributes:
        stock: whether Lava's own processes compute the layers, which also run on Loihi; slow.
        timeout: seconds that it may take in all; None for no limit.
    """

    name: ClassVar = "lava"
    says: ClassVar = "Lava, in the chip's time steps"
    restarts: ClassVar = False

    stock: bool = False
    timeout: float | None = None

    def refuses(self, graph: "Graph") -> list[str]:
        """Cycles without a schedule; and with `stock`, all that Lava's own processes lack."""
        from neuromorphic.lava.stock_limits import refusals

        return refusals(graph, stock=self.stock)

    def _parts(self, graph: "Graph", frames: "Given", time_steps: int | None, progress: Progress) -> "Iterator[Trace]":
        from neuromorphic.lava.simulation import traces

        return traces(
            graph,
            frames,
            time_steps,
            precision=graph.precision,
            models="stock" if self.stock else "fused",
            timeout=self.timeout,
            progress=progress,
        )


TARGETS: dict[str, type[Target]] = {kind.name: kind for kind in (Lava, Fast, Reference)}
"""By name; the first one is the default."""


def target_of(name: str, timeout: float | None = None) -> Target:
    """The target of that name; `timeout` are the seconds that Lava may take, None for no limit.

    Raises:
        RefusedInput: they are not above 0.
    """
    if timeout is not None and not timeout > 0:
        raise RefusedInput(f"timeout is {timeout!r}; expected seconds above 0")
    return Lava(timeout=timeout) if name == Lava.name else TARGETS[name]()
