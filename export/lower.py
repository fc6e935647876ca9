"""Lowering: each layer of a traced encoder becomes nodes of NIR, by one small function per type.

The nodes are NIR's own, except for two that it has no words for: the maximum of currents and self-attention
(`neuromorphic.ops.extensions`).

A node is named after the module that it computes: `block.0.mlp.hidden.lif`.  Nodes that a module needs before its own
are named below it: `stem.layers.2.pool.sum` counts the spikes that the gate `stem.layers.2.pool` then compares.
Additions become several edges into one node, since NIR sums what arrives there.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import nir
import numpy as np
from spikingjelly.activation_based import layer, neuron
from torch import fx, nn

from export.populations import AND_STEPS, Shape, and_gate, or_gate, population, strict
from neuromorphic.ops.convolution import block_diagonal
from neuromorphic.ops.extensions import MaxPool2d, SpikingSelfAttention
from spikeclip import neurons
from spikeclip.errors import RefusedInput


@dataclass(frozen=True)
class Value:
    """What a traced tensor is in the graph: the sum of the outputs of `sources`, each `[C, H, W]` = `shape`."""

    sources: tuple[str, ...]
    shape: Shape


@dataclass
class Lowering:
    """A NIR graph in the making.

    Attributes:
        time_steps: steps from rest that every neuron must stay exact for, T.
        nodes: by name.
        edges: (source, reader).
        groups: of the convolutions whose kernels are block-diagonal, by node.
    """

    time_steps: int
    nodes: dict[str, nir.NIRNode] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    groups: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, node: nir.NIRNode, shape: Shape, *inputs: Value) -> Value:
        """The output of a new node that reads the sum of `inputs`.

        Raises:
            RefusedInput: the name is taken, as when a module is called twice, or a sum holds one output twice.
        """
        if name in self.nodes:
            raise RefusedInput(f"module {name!r} is called twice or takes the name of another node; expected neither")
        sources = [source for value in inputs for source in value.sources]
        for source in sources:
            if sources.count(source) > 1:
                raise RefusedInput(f"module {name!r} reads {source!r} twice; NIR has no double edges")
        self.nodes[name] = node
        self.edges.extend((source, name) for source in sources)
        return Value((name,), shape)

    def spiking(self, value: Value) -> bool:
        """Whether `value` is one spike train."""
        return len(value.sources) == 1 and isinstance(self.nodes[value.sources[0]], nir.LIF)


def lower(traced: fx.GraphModule, shapes: dict[fx.Node, tuple[int, ...]], time_steps: int) -> tuple[Lowering, Value]:
    """The nodes of a traced and folded encoder, and the value that it returns.

    Args:
        traced: as `capture` returns it, without batch normalisation.
        shapes: of every traced tensor, as `capture.shapes` returns them.
        time_steps: T.

    Raises:
        RefusedInput: a module has settings that NIR or the chip can't express, by name.
    """
    lowering = Lowering(time_steps)
    values: dict[fx.Node, Value] = {}
    for node in traced.graph.nodes:
        inputs = [values[a] for a in node.all_input_nodes]
        match node.op:
            case "placeholder":
                shape = _map(shapes[node], "input")
                values[node] = lowering.add("input", nir.Input(np.array(shape)), shape)
            case "output":
                return lowering, _only(inputs, "the encoder's output")
            case "call_function":
                values[node] = _sum(node, values)
            case _:
                path = str(node.target)
                module = traced.get_submodule(path)
                operands = tuple(values[a] for a in node.args if isinstance(a, fx.Node))
                values[node] = LOWERINGS[type(module)](lowering, path, module, _map(shapes[node], path), *operands)
    raise RefusedInput("the encoder returns nothing; expected spikes")


def _map(shape: tuple[int, ...], path: str) -> Shape:
    if len(shape) != 3:
        raise RefusedInput(f"module {path!r} has outputs [T, B, *{list(shape)}]; expected [T, B, C, H, W]")
    return (shape[0], shape[1], shape[2])


def _only(values: list[Value], what: str) -> Value:
    if len(values) != 1:
        raise RefusedInput(f"{what} holds {len(values)} tensors; expected one")
    return values[0]


def _sum(node: fx.Node, values: dict[fx.Node, Value]) -> Value:
    a, b = (values[n] for n in node.args if isinstance(n, fx.Node))
    if a.shape != b.shape:
        raise RefusedInput(f"{node.format_node()} adds {list(a.shape)} and {list(b.shape)}; expected one shape")
    return Value(a.sources + b.sources, a.shape)


def _identity(graph: Lowering, path: str, module: nn.Identity, shape: Shape, x: Value) -> Value:
    """`y = x`: no node at all."""
    return x


def _conv(graph: Lowering, path: str, conv: layer.Conv2d, shape: Shape, x: Value) -> Value:
    """A convolution of spikes or of the input; one with groups as a block-diagonal kernel, the only form in NIR."""
    for source in x.sources:
        if not isinstance(graph.nodes[source], nir.LIF | nir.Input):
            raise RefusedInput(f"module {path!r} reads the analog values of {source!r}; expected spikes or the input")
    if conv.padding_mode != "zeros" or isinstance(conv.padding, str):
        raise RefusedInput(f"module {path!r} pads {conv.padding_mode!r} by {conv.padding!r}; expected zeros by numbers")
    if conv.kernel_size[0] != conv.kernel_size[1] or x.shape[1] != x.shape[2]:
        raise RefusedInput(
            f"module {path!r} has a kernel of {list(conv.kernel_size)} on {list(x.shape)}; "
            "expected squares, for others nir 1.0.8 infers wrong shapes"
        )
    weight = np.asarray(conv.weight.detach().numpy(), np.float32)
    bias = np.zeros(len(weight), np.float32) if conv.bias is None else conv.bias.detach().numpy().astype(np.float32)
    for what, values in (("weight", weight), ("bias", bias)):
        if not np.isfinite(values).all():
            raise RefusedInput(f"module {path!r}: its folded {what} holds values that are not finite")
    pairs = [(int(a), int(b)) for a, b in (conv.stride, conv.padding, conv.dilation)]
    node = nir.Conv2d(x.shape[1:], block_diagonal(weight, conv.groups), *pairs, groups=1, bias=bias)
    graph.groups[path] = conv.groups
    return graph.add(path, node, shape, x)


def _window_sums(graph: Lowering, name: str, shape: Shape, x: Value, size: int, stride: int, padding: int) -> Value:
    """Sums of windows, each channel by itself: a convolution with ones."""
    channels = x.shape[0]
    kernel = block_diagonal(np.ones((channels, 1, size, size), np.float32), channels)
    bias = np.zeros(channels, np.float32)
    node = nir.Conv2d(x.shape[1:], kernel, (stride, stride), (padding, padding), (1, 1), groups=1, bias=bias)
    graph.groups[name] = channels
    return graph.add(name, node, shape, x)


def _lif(graph: Lowering, path: str, lif: neuron.LIFNode, shape: Shape, x: Value) -> Value:
    """`v += (x - v) / tau` (gain 1), or `v += x - v / tau` (gain tau); fires at `v >= v_threshold`, then v = 0."""
    if lif.v_reset is None:
        raise RefusedInput(f"module {path!r} resets softly (v_reset is None); expected a hard reset to 0")
    if lif.v_reset != 0:
        raise RefusedInput(f"module {path!r} resets to {lif.v_reset}; expected 0")
    if lif.step_mode != "m":
        raise RefusedInput(f"module {path!r} is in step mode {lif.step_mode!r}; expected 'm'")
    tau, threshold = float(lif.tau), float(lif.v_threshold)
    if not np.isfinite(tau) or tau <= 1 or not np.isfinite(threshold) or not np.float32(threshold) > 0:
        raise RefusedInput(f"module {path!r} has tau {tau} and threshold {threshold}; expected tau > 1, threshold > 0")
    return graph.add(path, population(shape, tau, 1.0 if lif.decay_input else tau, strict(threshold)), shape, x)


def _max_pool(graph: Lowering, path: str, pool: layer.MaxPool2d, shape: Shape, x: Value) -> Value:
    """The largest of one population's spikes is their OR, a count and a gate; the largest of currents, a node.

    The count is a convolution with ones where the window is padded (a SumPool2d with padding is not read right by
    nirtorch, and so by SpikingJelly), else a SumPool2d.
    """
    (size, width), (step, across), (pad, beside), (dilation, wide) = (
        (n, n) if isinstance(n, int) else (n[0], n[1])
        for n in (pool.kernel_size, pool.stride, pool.padding, pool.dilation)
    )
    square = size == width and step == across and pad == beside and dilation == wide == 1
    if not square or pool.ceil_mode or pool.return_indices:
        raise RefusedInput(f"module {path!r} is {pool}; expected a square window, dilation 1, ceil_mode False")
    if not graph.spiking(x):
        window = (np.array([n, n]) for n in (size, step, pad))
        return graph.add(path, MaxPool2d(np.array(x.shape), *window), shape, x)
    name = f"{path}.sum"
    if pad:
        sums = _window_sums(graph, name, shape, x, size, step, pad)
    else:
        sums = graph.add(name, _sum_pool(size, step), shape, x)
    return graph.add(path, or_gate(shape), shape, sums)


def _sum_pool(size: int, stride: int) -> nir.SumPool2d:
    return nir.SumPool2d(np.array([size, size]), np.array([stride, stride]), np.array([0, 0]))


def _and(graph: Lowering, path: str, module: neurons.And, shape: Shape, a: Value, b: Value) -> Value:
    """A gate that both spikes together drive over its threshold; `[C, 1, 1]` is first copied to every position."""
    for value in (a, b):
        if not graph.spiking(value):
            raise RefusedInput(f"module {path!r} reads {' + '.join(value.sources)}; expected two spike trains")
    if graph.time_steps > AND_STEPS:
        raise RefusedInput(
            f"module {path!r} is an AND over {graph.time_steps} time steps; expected at most {AND_STEPS}"
        )
    a, b = (_broadcast(graph, path, value, shape) for value in (a, b))
    return graph.add(path, and_gate(shape, graph.time_steps), shape, a, b)


def _broadcast(graph: Lowering, path: str, x: Value, shape: Shape) -> Value:
    """`[C, 1, 1]` to `[C, S, S]`: every window of a kernel of S ones sees the one value amid S - 1 of padding."""
    if x.shape == shape:
        return x
    if x.shape != (shape[0], 1, 1) or shape[1] != shape[2]:
        raise RefusedInput(f"module {path!r} spreads {list(x.shape)} to {list(shape)}; expected [C, 1, 1] to [C, S, S]")
    size = shape[1]
    return _window_sums(graph, f"{path}.broadcast", shape, x, size, 1, size - 1)


def _token_sum(graph: Lowering, path: str, module: neurons.TokenSum, shape: Shape, x: Value) -> Value:
    """The sum over the whole map; its factor is already in the threshold behind it (`fold.fold_token_scale`)."""
    if not graph.spiking(x) or x.shape[1] != x.shape[2]:
        found = " + ".join(x.sources)
        raise RefusedInput(f"module {path!r} sums {found} {list(x.shape)}; expected one square map of spikes")
    return graph.add(path, _sum_pool(x.shape[1], x.shape[1]), shape, x)


def _attention(graph: Lowering, path: str, module: neurons.SpikingSelfAttention, shape: Shape, x: Value) -> Value:
    """`scale · Q (Kᵀ V)` per head, of one population that holds Q, K and V."""
    if not graph.spiking(x):
        raise RefusedInput(f"module {path!r} reads {' + '.join(x.sources)}; expected the spikes of one population")
    if x.shape != (3 * shape[0], *shape[1:]):
        raise RefusedInput(f"module {path!r} makes {list(shape)} of {list(x.shape)}; expected Q, K and V of one size")
    scale = float(module.scale)
    if not 0 < scale < np.inf:
        raise RefusedInput(f"module {path!r} scales by {scale}; expected a positive number")
    return graph.add(path, SpikingSelfAttention(np.array(x.shape), int(module.heads), scale), shape, x)


LOWERINGS: dict[type, Callable[..., Value]] = {
    nn.Identity: _identity,
    layer.Conv2d: _conv,
    neuron.LIFNode: _lif,
    layer.MaxPool2d: _max_pool,
    neurons.And: _and,
    neurons.TokenSum: _token_sum,
    neurons.SpikingSelfAttention: _attention,
}
"""What each type of module becomes: called with the lowering, the module's path, the module, the shape of its output,
and its operands."""
