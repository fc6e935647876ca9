"""The reference executor, in numpy: it defines the semantics of a graph.

It computes in float64, one node after the other, one time step after the other, all images side by side.  There is no
latency: a frame has its effect in its own time step, except through a recurrent edge or a `Delay`.  Every image starts
from rest, with empty delays.
"""

from collections.abc import Iterator
from typing import assert_never

import numpy as np

from neuromorphic.analysis.fingerprint import lineage
from neuromorphic.cluster.ranges import Progress, batches, silent
from neuromorphic.errors import RefusedInput
from neuromorphic.execution.batches import fitting, joined, told
from neuromorphic.execution.frames import per_step, read_at
from neuromorphic.ir.graph import Graph
from neuromorphic.ir.inputs import Given
from neuromorphic.ir.trace import SpikeTrain, Trace
from neuromorphic.ops import Delay, Float64, Neurons, Sink, Source, Stateless


def run(graph: Graph, frames: Given, time_steps: int | None = None) -> Trace:
    """Execute `graph` on `frames`, each presented for T steps.

    Args:
        graph: a validated graph.
        frames: float32 `[N, *input shape]` as `encode` returns them; or `[N, T, *input shape]`, one frame per step;
            for several inputs, such arrays by the name of the input.
        time_steps: T, where neither the frames nor the graph's metadata say.

    Returns:
        The trace of every population and of the output.

    Raises:
        RefusedInput: the frames don't have the shape of the graph's input, T is unknown, or the output is too large.
    """
    shown = per_step(graph, frames, time_steps)
    images, steps = shown.shape[:2]
    nodes = graph.nodes.values()
    states = {n.name: n.operation.at_rest(images, n.shape) for n in nodes if isinstance(n.operation, Neurons)}
    lines: dict[str, list[Float64]] = {n.name: [] for n in nodes if isinstance(n.operation, Delay)}
    spikes = {node.name: np.zeros((images, steps, *node.shape), np.bool_) for node in graph.populations}
    outputs = {name: np.zeros((images, steps, *graph.nodes[name].shape), np.float32) for name in graph.outputs}
    read = {node.name: [(s, graph.lag(s, node.name)) for s in node.sources] for node in nodes}
    past: dict[str, list[Float64]] = {s: [] for sources in read.values() for s, lag in sources if lag}
    for t in range(steps):
        values: dict[str, Float64] = {}
        read_now = read_at(graph, shown, t)
        for node in nodes:
            x = np.zeros((images, *node.input_shape))
            for source, lag in read[node.name]:
                if lag <= t:
                    sent = past[source][t - lag] if lag else values[source]
                    x += sent.reshape(x.shape)
            match node.operation:
                case Source():
                    values[node.name] = read_now[node.name].astype(np.float64)
                case Sink():
                    values[node.name] = x
                case Delay() as delay:
                    lines[node.name].append(x)
                    values[node.name] = _delayed(delay, lines[node.name])
                case Neurons() as neurons:
                    values[node.name] = neurons.advance(states[node.name], x)
                case Stateless() as stateless:
                    values[node.name] = stateless.apply(x, node.shapes)
                case unknown:
                    assert_never(unknown)
            if node.spiking:
                spikes[node.name][:, t] = values[node.name] != 0
        for source, line in past.items():
            line.append(values[source])
        with np.errstate(over="ignore", invalid="ignore"):
            for name, sent in outputs.items():
                sent[:, t] = values[name]
    if not all(np.isfinite(sent).all() for sent in outputs.values()):
        raise RefusedInput(f"{graph.source}: its output leaves the range of float32; expected smaller weights")
    trains = {name: SpikeTrain.pack(s) for name, s in spikes.items()}
    left = None
    if graph.precision == "loihi2":
        left = {node.name: states[node.name].v.astype(np.int32) for node in graph.populations}
    first = outputs.pop(graph.output)
    return Trace("reference", graph.precision, trains, first, graph.metadata.readout, left, lineage(graph), outputs)


def _delayed(delay: Delay, line: list[Float64]) -> Float64:
    """The output of a delay, given all inputs of an image so far, which were delayed by `delay.lag` steps before."""
    y = np.zeros_like(line[-1])
    for wait in np.unique(delay.steps - delay.lag):
        if wait < len(line):
            np.copyto(y, line[-1 - wait], where=delay.steps - delay.lag == wait)
    return y


def traces(
    graph: Graph,
    frames: Given,
    time_steps: int | None = None,
    batch: int | None = None,
    progress: Progress = silent,
) -> Iterator[Trace]:
    """The trace of `run` in parts, some images each, of which only one is in memory at a time.

    Args:
        graph: as for `run`.
        frames: as for `run`.
        time_steps: as for `run`.
        batch: images side by side; by default as many as fit (`batches.fitting`).
        progress: told (images done, images in all).
    """
    shown = per_step(graph, frames, time_steps)
    images, steps = shown.shape[:2]
    parts = batches(images, batch or fitting(graph, steps))
    return told((run(graph, shown[part]) for part in parts), images, progress)


run_in_batches = joined(traces)
"""The trace of all images."""
