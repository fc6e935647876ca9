"""Compiled kernels for one node and one time step, as Lava's processes take them."""

import numpy as np

from neuromorphic.execution import kernels
from neuromorphic.execution.fronts import COUNTS, Front, is_plain, synapses
from neuromorphic.execution.positions import by_position, layout, maps, positions
from neuromorphic.ir.graph import Node
from neuromorphic.ops import Array, Kernel, Shape


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
        self.v: Array = np.zeros((batch, *node.shape), dtype)
        first, second, third, last = (n.reshape(-1) for n in _numbers(node, bias, dtype))
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
        front: of the synapses, which read spikes.
        read: the shape of these.
        head: of neurons that `is_plain`, which read nothing but the synapses.
        bias: of the neurons' shape, which is added to what arrives.
        batch: B.
        dtype: float32, which holds every sum.
    """

    def __init__(
        self, front: Front, read: Shape, head: Node, bias: Array, batch: int, dtype: type[np.floating]
    ) -> None:
        self.front, self.read, self.sent = front, read, head.shape
        first, second, third, last = (by_position(n, head.shape) for n in _numbers(head, bias, dtype))
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


def _numbers(node: Node, bias: Array, dtype: type[np.floating]) -> tuple[Array, ...]:
    """Bias, gain, decay and threshold of leaky neurons, each of their shape.

    Raises:
        TypeError: these are other neurons.
    """
    lif = node.operation
    if not is_plain(lif):
        raise TypeError(f"node {node.name!r}: no leaky neurons that rest and reset at 0")
    return tuple(np.broadcast_to(n, node.shape).astype(dtype) for n in (bias, lif.gain, lif.decay, lif.threshold))
