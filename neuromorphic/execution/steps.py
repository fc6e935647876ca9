"""Compiled kernels for one node and one time step, as Lava's processes take them."""

import numpy as np

from neuromorphic.execution import kernels
from neuromorphic.execution.fronts import COUNTS, is_plain, synapses
from neuromorphic.execution.positions import by_position, layout, maps, positions
from neuromorphic.ir.graph import Node
from neuromorphic.ops import Array, Kernel


def layer(node: Node, dtype: type[np.floating]) -> Kernel | None:
    """`y = W x` of spikes: uint8 `[B, *input shape]`, of one node, to `[B, *shape]` of `dtype`, which holds every sum.

    None where a node has no compiled kernel.
    """
    front = synapses(node, COUNTS, np.dtype(dtype))
    if front is None:
        return None

    def compute(x: Array) -> Array:
        y = np.empty((len(x), 1, *layout(node.shape)), dtype)
        kernels.layer(front.argument(positions(x[:, None], node.input_shape)), y)
        return maps(y, node.shape)[:, 0]

    return compute


class Leaky:
    """Leaky neurons a time step at a time: `[B, *shape]`, without their bias, to spikes, uint8.

    Args:
        node: of neurons that `is_plain`.
        bias: of its shape, which is added to what arrives.
        batch: B.
        dtype: float32 or float64, which holds every number.
    """

    def __init__(self, node: Node, bias: Array, batch: int, dtype: type[np.floating]) -> None:
        lif = node.operation
        if not is_plain(lif):
            raise TypeError(f"node {node.name!r}: no leaky neurons that rest and reset at 0")
        self.v: Array = np.zeros((batch, *node.shape), dtype)
        numbers = (bias, lif.gain, lif.decay, lif.threshold)
        first, second, third, last = (np.broadcast_to(n, node.shape).astype(dtype).reshape(-1) for n in numbers)
        self.numbers = first, second, third, last

    def forget(self) -> None:
        """Back to rest."""
        self.v[...] = 0

    def __call__(self, x: Array) -> Array:
        spikes, flat = np.empty(self.v.shape, COUNTS), (len(self.v), -1)
        x = np.ascontiguousarray(x, self.v.dtype)
        kernels.step(x.reshape(flat), self.numbers, self.v.reshape(flat), spikes.reshape(flat))
        return spikes


class LeakyLayer:
    """A layer of synapses and the leaky neurons behind it, a time step at a time: spikes, uint8, to spikes.

    Args:
        node: with synapses, of which `layer` has a kernel.
        head: of neurons that `is_plain`, which read nothing but `node`.
        bias: of the neurons' shape, which is added to what arrives.
        batch: B.
        dtype: float32, which holds every sum.
    """

    def __init__(self, node: Node, head: Node, bias: Array, batch: int, dtype: type[np.floating]) -> None:
        lif, front = head.operation, synapses(node, COUNTS, np.dtype(dtype))
        if not is_plain(lif) or front is None:
            raise TypeError(f"node {head.name!r}: no leaky neurons behind synapses that have a compiled kernel")
        self.front, self.read, self.sent = front, node.input_shape, head.shape
        numbers = (np.broadcast_to(n, head.shape).astype(dtype) for n in (bias, lif.gain, lif.decay, lif.threshold))
        first, second, third, last = (by_position(n, head.shape) for n in numbers)
        self.numbers = first, second, third, last
        self.lying = np.zeros((batch, *layout(head.shape)), dtype)

    @property
    def v(self) -> Array:
        """Of every neuron, `[B, *shape]`."""
        return maps(self.lying[:, None], self.sent)[:, 0]

    def forget(self) -> None:
        """Back to rest."""
        self.lying[...] = 0

    def __call__(self, x: Array) -> Array:
        spikes = np.empty((len(x), 1, *self.lying.shape[1:]), COUNTS)
        front = self.front.argument(positions(x[:, None], self.read))
        kernels.neuron_layer(front, (0,) * kernels.LEAKY, self.numbers, spikes, self.lying, False)
        return maps(spikes, self.sent)[:, 0]
