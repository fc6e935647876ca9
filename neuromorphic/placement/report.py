"""The placement: every core with its block of a population, and the totals."""

from dataclasses import asdict, dataclass, replace
from itertools import pairwise, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuromorphic.analysis.arrivals import arrivals, check_delays
from neuromorphic.analysis.fingerprint import check_trace
from neuromorphic.errors import RefusedInput, number
from neuromorphic.ir.graph import Graph
from neuromorphic.ir.inputs import of_inputs
from neuromorphic.ir.shown import Shown
from neuromorphic.ir.totals import Totals
from neuromorphic.ir.trace import Trace
from neuromorphic.ops import Delay, Int64, Sink
from neuromorphic.placement.activity import Activity, full_rate, measured
from neuromorphic.placement.limits import Limits
from neuromorphic.placement.partition import Placed, partition
from neuromorphic.placement.populations import Kind, Map, Residual, as_map, populations, sends


@dataclass(frozen=True)
class Core:
    """A core and its block.

    Attributes:
        index: over all chips.
        population: name of the block's population.
        kind: of the population.
        channels, rows, columns: of the block, as (first, one after the last).
        neurons, synapses: counts.
        weights, state, memory: bytes; `memory` includes the axons.
        axons_in, axons_out: counts.
    """

    index: int
    population: str
    kind: Kind
    channels: tuple[int, int]
    rows: tuple[int, int]
    columns: tuple[int, int]
    neurons: int
    synapses: int
    weights: int
    state: int
    memory: int
    axons_in: int
    axons_out: int


@dataclass(frozen=True, repr=False, eq=False)
class Placement(Shown):
    """A graph on cores.

    Attributes:
        limits: of cores and chips.
        residual: the treatment of currents that several populations read (`place`).
        placed: populations with their cuts, senders before their readers.
        cores: in the same order.
        time_steps: per image; None where neither the graph nor a trace says.
        full_rate: activity of one time step in which every neuron fires.
        measured: activity of a trace's run; None without a trace.
    """

    limits: Limits
    residual: Residual
    placed: tuple[Placed, ...]
    cores: tuple[Core, ...]
    time_steps: int | None
    full_rate: Activity
    measured: Activity | None

    @property
    def chips(self) -> int:
        """The number of chips for the cores."""
        return -(-len(self.cores) // self.limits.cores_per_chip)

    @property
    def neurons(self) -> Int64:
        """Neurons of each core: int64 `[cores]`."""
        return np.array([core.neurons for core in self.cores], np.int64)

    def utilisation(self) -> dict[str, float]:
        """The share of neurons and of memory of the occupied cores that is used, on average."""
        cores = len(self.cores)
        return {
            "neurons": int(self.neurons.sum()) / (cores * self.limits.neurons),
            "memory": sum(core.memory for core in self.cores) / (cores * self.limits.memory),
        }

    def title(self) -> str:
        """The placement in one line."""
        used = self.utilisation()
        return (
            f"{number(len(self.cores), 'core')} on {number(self.chips, 'chip')}: {used['neurons']:.0%} of their "
            f"neurons and {used['memory']:.0%} of their memory in use"
        )

    def rows(self) -> list[dict[str, Any]]:
        """A row for each core."""
        ranges = ("channels", "rows", "columns")
        return [asdict(core) | {name: str(getattr(core, name)) for name in ranges} for core in self.cores]

    def to_dict(self) -> dict[str, Any]:
        """The placement as a JSON-compatible dictionary."""
        fullest = max(self.cores, key=lambda core: core.memory)
        return {
            "cores": len(self.cores),
            "chips": self.chips,
            "residual": self.residual,
            "neurons": int(self.neurons.sum()),
            "synapses": sum(core.synapses for core in self.cores),
            "bytes": {
                "weights": sum(core.weights for core in self.cores),
                "state": sum(core.state for core in self.cores),
                "memory": sum(core.memory for core in self.cores),
            },
            "utilisation": self.utilisation(),
            "fullest_core": fullest.index,
            "full_rate": self._activity(self.full_rate),
            "measured": None if self.measured is None else self._activity(self.measured),
            "profile": self.limits.profile,
            "limits": self.limits.rows(),
            "populations": [
                {
                    "name": entry.population.name,
                    "kind": entry.population.kind,
                    "shape": list(entry.population.shape),
                    "latency": entry.population.latency,
                    "delay": entry.population.delay,
                    "cores": entry.cut.blocks,
                }
                for entry in self.placed
            ],
            "placement": [asdict(core) for core in self.cores],
        }

    def _activity(self, activity: Activity) -> dict[str, Any]:
        time = activity.step_time(self.neurons, self.limits)
        per_image = self.time_steps or 1
        return {
            "steps": activity.steps,
            "messages_per_step": int(activity.messages.sum()) / activity.steps,
            "messages_per_image": int(activity.messages.sum()) / activity.steps * per_image,
            "messages_from_host_per_image": activity.from_host / activity.steps * per_image,
            "operations_per_step": int(activity.operations.sum()) / activity.steps,
            "busiest_core": time.busiest,
            "busiest_core_operations_per_step": int(activity.operations[time.busiest]) / activity.steps,
            "step_ns": {"barrier": time.barrier, "neurons": time.neurons, "synapses": time.synapses},
            "steps_per_second_at_most": time.steps_per_second,
            "images_per_second_at_most": time.steps_per_second / per_image,
        }


def place(
    graph: Graph,
    limits: Limits | None = None,
    trace: Trace | Totals | None = None,
    residual: Residual = "duplicate",
    frames: NDArray[Any] | None = None,
) -> Placement:
    """The cores that `graph` needs.

    Args:
        graph: a validated graph.
        limits: of core and chip; None for those of Intel's compiler.
        trace: a run of the graph, or its totals with the spikes of each neuron, for the activity of the cores.
        residual: a current that several populations read has synapses once per reader (`duplicate`, as in the schedule
            and in Lava's simulation), or is summed by neurons that send it on (`relay`).
        frames: of the run, as a graph of floats reads them, `[N, *frame shape]` or `[N, T, *frame shape]`; needed only
            if the metadata say that the input is spikes or counts.

    Raises:
        RefusedInput: the graph needs no neurons, has a `Delay` of currents, or a cycle that takes more time steps than
            its lags; one neuron is too much for a core, a delay is longer than a synapse's, or the trace is of another
            graph.
    """
    limits = limits or Limits()
    _check(graph, limits)
    found = populations(graph, residual)
    if not found:
        raise RefusedInput(f"{graph.source}: nothing to place: its output is its input")
    placed = partition(found, limits, graph.source)
    steps, activity = graph.metadata.time_steps, full_rate(placed, _input_maps(graph))
    placement = Placement(limits, residual, placed, _cores(placed), steps, activity, measured=None)
    return placement if trace is None else with_run(placement, graph, trace, frames)


def with_run(
    placement: Placement, graph: Graph, trace: Trace | Totals, frames: NDArray[Any] | None = None
) -> Placement:
    """The placement of `graph` with the activity of a run; arguments as of `place`.

    Raises:
        RefusedInput: the trace is of another graph, or frames are missing or of another run.
    """
    totals = Totals.of(trace, of_neurons=True) if isinstance(trace, Trace) else trace
    check_trace(graph, totals.answers)
    arrived = _arrived(graph, totals.answers, frames)
    activity = measured(placement.placed, _input_maps(graph), totals, arrived)
    return replace(placement, time_steps=totals.answers.time_steps, measured=activity)


def _input_maps(graph: Graph) -> dict[str, Map]:
    return {name: as_map(graph.nodes[name].shape) for name in graph.inputs}


def _arrived(graph: Graph, trace: Trace, frames: NDArray[Any] | None) -> dict[str, Int64]:
    """Spikes of each element of the inputs over a run, by input; empty for real numbers, which arrive in every step.

    Raises:
        RefusedInput: there are no frames, or others than the run's.
    """
    kind, shape = graph.metadata.input_kind, graph.frame_shape
    if kind not in ("spikes", "counts"):
        return {}
    if frames is None:
        raise RefusedInput(f"{graph.source}: its input are {kind}, which a trace doesn't hold; expected the frames")
    still, moving = (trace.images, *shape), (trace.images, trace.time_steps, *shape)
    if frames.shape not in (still, moving):
        raise RefusedInput(
            f"{graph.source}: frames have the shape {list(frames.shape)}; expected those of the run's {trace.images} "
            f"images and {trace.time_steps} time steps, or one for each image, of shape {list(shape)}"
        )
    sent = frames if kind == "counts" else frames != 0
    total = sent.reshape(-1, *shape).sum(0, dtype=np.int64) * (trace.time_steps if frames.shape == still else 1)
    return {name: part.reshape(-1) for name, part in of_inputs(graph, total).items()}


def _check(graph: Graph, limits: Limits) -> None:
    """Refuse a `Delay` that synapses don't have: of currents, or longer than theirs."""
    check_delays(graph)
    for node in graph.nodes.values():
        if isinstance(node.operation, Delay):
            currents = [a.sender.name for a in arrivals(graph, node, sends) if not sends(a.sender)]
            if currents:
                raise RefusedInput(
                    f"{graph.source}: node {node.name!r} is a Delay of the currents of {currents[0]!r}; expected one "
                    "of spikes, before their synapses, which is where a chip lets them wait"
                )
        elif not isinstance(node.operation, Sink):
            for name in node.sources:
                _check_wait(graph, name, limits)


def _check_wait(graph: Graph, name: str, limits: Limits) -> None:
    operation = graph.nodes[name].operation
    if isinstance(operation, Delay) and operation.steps.max() > limits.delay:
        raise RefusedInput(
            f"{graph.source}: node {name!r} is a Delay of {operation.steps.max()} steps; a synapse waits "
            f"{limits.delay} at most"
        )


def _cores(placed: tuple[Placed, ...]) -> tuple[Core, ...]:
    found: list[Core] = []
    for entry in placed:
        demand = {key: values.reshape(-1).tolist() for key, values in vars(entry.demand).items() if key != "slots"}
        blocks = product(*map(pairwise, (entry.cut.channels, entry.cut.rows, entry.cut.columns)))
        for block, (channels, rows, columns) in enumerate(blocks):
            numbers = {key: values[block] for key, values in demand.items()}
            name, kind = entry.population.name, entry.population.kind
            found.append(Core(len(found), name, kind, channels, rows, columns, **numbers))
    return tuple(found)
