"""Unrolling: a graph of NIR, which runs T times from rest, as a graph of ONNX without state.

Convolutions, maxima, attention and readout have no state: they run once, on the images of all time steps as one batch
`[T N, ...]`, so that their weights stand in the file once.  What depends on the input alone is the same at every step
and runs on `[N, ...]`.  Only the neurons go from step to step (`neurons.add_population`).

Tensors are named after the nodes that they leave; those within a node, below it: `block.0.mlp.lif/v.2`.
"""

from dataclasses import dataclass
from graphlib import TopologicalSorter

import nir
import numpy as np

from export.onnx.builder import Builder
from export.onnx.neurons import add_population
from export.onnx.operators import add_operator
from neuromorphic.analysis.rounding import readout_nodes
from neuromorphic.reading.build import from_nir


@dataclass(frozen=True)
class Value:
    """The output of a node, over all time steps.

    Attributes:
        name: of the tensor: `[T N, ...]`, all images of a step after those of the step before.
        constant: whether it is the same at every step; the tensor then is `[N, ...]`.
        dtype: float32, or float64 in a readout of currents.
    """

    name: str
    constant: bool
    dtype: type[np.generic] = np.float32


@dataclass(frozen=True)
class Unrolled:
    """The outputs of a graph.

    Attributes:
        outputs: per time step, what arrives at the graph's output: float32 `[N, classes]`.
        fired: per population and time step, its spikes: bool `[N, C, H, W]`.
    """

    outputs: tuple[str, ...]
    fired: dict[str, tuple[str, ...]]


def unroll(builder: Builder, graph: nir.NIRGraph, frames: str, time_steps: int) -> Unrolled:
    """Add the operators of `graph` for T time steps from rest.

    Requires: a graph as `convert.prepare` makes it.
    Ensures: every operator is exact where the certificate says so of the node that it stands for; where the
    certificate gives a node 53 bits it computes in float64, and outputs are rounded once, to float32.

    Args:
        builder: gets the operators.
        graph: what to compute.
        frames: name of its input, float32 `[N, C, H, W]`, the same at every step.
        time_steps: T.
    """
    values: dict[str, Value] = {}
    fired: dict[str, tuple[str, ...]] = {}
    outputs: tuple[str, ...] = ()
    wide = readout_nodes(from_nir(graph, "the encoder"))
    for name, read in _sources(graph).items():
        node = graph.nodes[name]
        if isinstance(node, nir.Input):
            values[name] = Value(frames, constant=True)
            continue
        x = _sum(builder, name, [values[source] for source in read], time_steps)
        if isinstance(node, nir.LIF):
            spikes = add_population(builder, name, node, x.name, x.constant, time_steps)
            values[name], fired[name] = Value(spikes.stacked, constant=False), spikes.steps
        elif isinstance(node, nir.Output):
            outputs = _steps(builder, _cast(builder, name, x, np.float32), time_steps)
        else:
            if not isinstance(node, nir.Flatten):
                x = _cast(builder, name, x, np.float64 if name in wide else np.float32)
            values[name] = Value(add_operator(builder, name, node, x.name, x.dtype), x.constant, x.dtype)
    return Unrolled(outputs, fired)


def _sources(graph: nir.NIRGraph) -> dict[str, list[str]]:
    """The sources of each node, by name, in topological order."""
    found: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for before, after in graph.edges:
        found[after].append(before)
    return {name: found[name] for name in TopologicalSorter(found).static_order()}


def _sum(builder: Builder, name: str, values: list[Value], time_steps: int) -> Value:
    """The sum of values, in float64 where one is; constant ones are repeated where others aren't."""
    if len(values) == 1:
        return values[0]
    constant = all(value.constant for value in values)
    dtype = np.float64 if any(value.dtype is np.float64 for value in values) else np.float32
    terms = []
    for i, value in enumerate(values):
        term = _cast(builder, f"{name}/sum.{i}", value, dtype).name
        if value.constant and not constant:
            term = builder.add("Concat", f"{name}/sum.{i}/repeated", *[term] * time_steps, axis=0)
        terms.append(term)
    return Value(builder.add("Sum", f"{name}/sum", *terms), constant, dtype)


def _cast(builder: Builder, name: str, x: Value, dtype: type[np.generic]) -> Value:
    if x.dtype is dtype:
        return x
    return Value(builder.cast(f"{name}/{np.dtype(dtype)}", x.name, dtype), x.constant, dtype)


def _steps(builder: Builder, x: Value, time_steps: int) -> tuple[str, ...]:
    if x.constant:
        return (x.name,) * time_steps
    return tuple(builder.split([f"{x.name}.{t}" for t in range(time_steps)], x.name, axis=0))
