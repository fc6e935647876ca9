"""Unrolling: a graph of integers, which runs T times from rest, as a graph of ONNX, one time step after the other.

Weights stand in the file once, whatever T.  What depends on frames that are the same in every step is computed once.
Tensors are named after the nodes that they leave, and the step: `block.0.mlp.lif.2`; those within a node, below it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import assert_never

import numpy as np

from export.onnx.builder import Builder
from export.onnx.integers.neurons import Neurons
from export.onnx.integers.operators import (
    add_affine,
    add_attention,
    add_conv,
    add_max_pool,
    add_scale,
    add_sum_pool,
)
from export.onnx.integers.values import Integers, Value, cast, number, plus, total, width
from neuromorphic.analysis.biases import biases
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.ops import (
    Affine,
    Conv2d,
    CubaLif,
    Delay,
    If,
    Lif,
    LoihiLif,
    MaxPool2d,
    Membranes,
    Scale,
    SelfAttention,
    Sink,
    SoftIf,
    SoftLif,
    Source,
    SumPool2d,
    Threshold,
)


@dataclass(frozen=True)
class Unrolled:
    """The outputs of a graph.

    Attributes:
        outputs: per time step, what arrives at its output.
        neurons: its populations, after the last step.
    """

    outputs: tuple[Value, ...]
    neurons: dict[str, Neurons]


def unroll(builder: Builder, graph: Graph, frames: Sequence[Value], silence: str) -> Unrolled:
    """Add the operators of `graph` for as many time steps as there are frames, from rest.

    Requires: `refusals(graph)` is empty.

    Args:
        builder: gets the operators.
        graph: of integers.
        frames: per time step, `[N, *input shape]`; one value for all where every step sees the same.
        silence: int32 `[N, 1]` of zeros, for what nothing arrives at.
    """
    run = _Run(builder, graph, silence)
    constant = len(set(frames)) == 1 and len(frames) > 0
    for t, frame in enumerate(frames):
        run.step(t, frame, constant)
    return Unrolled(tuple(run.sent[graph.output]), run.neurons)


class _Run:
    """The values of every node, step by step."""

    def __init__(self, builder: Builder, graph: Graph, silence: str) -> None:
        self.builder, self.graph, self.silence = builder, graph, silence
        self.biases = {name: np.rint(bias).astype(np.int64) for name, bias in biases(graph).items()}
        self.sent: dict[str, list[Value]] = {name: [] for name in graph.nodes}
        self.arrived: dict[str, list[Value]] = {
            n.name: [] for n in graph.nodes.values() if isinstance(n.operation, Delay)
        }
        self.neurons = {
            n.name: Neurons(n.name, n.operation) for n in graph.nodes.values() if isinstance(n.operation, LoihiLif)
        }
        self.same = _same_in_every_step(graph)

    def step(self, t: int, frame: Value, constant: bool) -> None:
        for node in self.graph.nodes.values():
            if isinstance(node.operation, Source):
                value = frame
            elif t and constant and node.name in self.same:
                value = self.sent[node.name][0]
            else:
                value = self._node(node, self._read(node, t), t)
            self.sent[node.name].append(value)

    def _read(self, node: Node, t: int) -> Value:
        """The sum that arrives at a node, in its input shape."""
        values = []
        for i, source in enumerate(node.sources):
            lag = self.graph.lag(source, node.name)
            if lag > t:
                continue
            value = self.sent[source][t - lag]
            if self.graph.nodes[source].shape != node.input_shape:
                name = f"{node.name}.{t}/shaped.{i}"
                shaped = self.builder.add("Reshape", name, value.name, self.builder.integers(-1, *node.input_shape))
                value = Value(shaped, value.dtype, value.low, value.high)
            values.append(value)
        return total(self.builder, f"{node.name}.{t}/read", values) if values else self._nothing(node, t)

    def _nothing(self, node: Node, t: int) -> Value:
        """Zeros, `[N, *input shape]`."""
        name = f"{node.name}.{t}/nothing"
        row = self.builder.constant(f"{node.name}/row", np.zeros((1, prod(node.input_shape)), np.int32))
        wide = self.builder.add("Add", f"{name}/flat", self.silence, row)
        return Value(
            self.builder.add("Reshape", name, wide, self.builder.integers(-1, *node.input_shape)), np.int32, 0, 0
        )

    def _node(self, node: Node, x: Value, t: int) -> Value:
        builder, name, shapes = self.builder, f"{node.name}.{t}", node.shapes
        match node.operation:
            case Conv2d() as conv:
                return add_conv(builder, name, conv, shapes, x, node.name)
            case Affine() as affine:
                return add_affine(builder, name, affine, x, node.name)
            case Scale() as scale:
                return add_scale(builder, name, scale, x, node.name)
            case SumPool2d() as pool:
                return add_sum_pool(builder, name, pool, shapes, x)
            case MaxPool2d() as pool:
                return add_max_pool(builder, name, pool, shapes, self._biased(node, x, t))
            case SelfAttention() as attention:
                return add_attention(builder, name, attention, shapes, x)
            case LoihiLif():
                return self.neurons[node.name].step(builder, self._biased(node, x, t), t)
            case Delay() as delay:
                return self._delayed(node, delay, self._biased(node, x, t) if t >= delay.lag else x, t)
            case Sink():
                return self._biased(node, x, t)
            case Source() | Lif() | If() | CubaLif() | Threshold() | SoftLif() | SoftIf() | Membranes():
                raise TypeError(f"node {node.name!r}: a {type(node.operation).__name__} has no operators of integers")
            case unknown:
                assert_never(unknown)

    def _biased(self, node: Node, x: Value, t: int) -> Value:
        bias: Integers = self.biases[node.name]
        return plus(self.builder, f"{node.name}.{t}/biased", x, bias)

    def _delayed(self, node: Node, delay: Delay, x: Value, t: int) -> Value:
        """Each element as it arrived so many steps ago as it waits beyond the delay's lag; 0 before that."""
        line = self.arrived[node.name]
        line.append(x)
        builder, name = self.builder, f"{node.name}.{t}"
        waits = delay.steps - delay.lag
        if not waits.any():
            return x
        low, high = min(0, x.low), max(0, x.high)
        dtype = width(low, high)
        found = number(builder, 0, dtype)
        for wait in np.unique(waits[waits <= t]):
            here = builder.constant(f"{node.name}/waits.{wait}", waits == wait)
            earlier = line[-1 - wait]
            term = cast(builder, f"{name}/wide.{wait}", earlier, dtype)
            found = builder.add("Where", f"{name}/after.{wait}", here, term, found)
        if not (waits <= t).any():
            return self._nothing(node, t)
        return Value(found, dtype, low, high)


def _same_in_every_step(graph: Graph) -> frozenset[str]:
    """Names of the nodes that depend on the frames of their own step alone."""
    found = set[str]()
    for node in graph.nodes.values():
        stateless = not node.neurons and not isinstance(node.operation, Delay)
        if stateless and all(s in found and not graph.lag(s, node.name) for s in node.sources):
            found.add(node.name)
    return frozenset(found)
