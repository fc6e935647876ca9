"""What a graph in the chip's integers means, in Python's integers: loops, and no state but memory.

Written from the equations of Loihi's neurons alone.  As in `oracle`, the value of a node at a step is a function of its
inputs at that step and of its own state at the step before, and nothing knows an order of nodes or a latency.
"""

import numpy as np

from neuromorphic.ops import (
    Affine,
    Conv2d,
    CubaLi,
    Delay,
    Integrator,
    Li,
    LoihiLif,
    Scale,
    Sink,
    Source,
    SumPool2d,
)
from tests.neuromorphic.chip import LIMIT
from tests.neuromorphic.oracle import convolved

READOUTS = (Integrator, Li, CubaLi)


class ChipOracle:
    """The values of an integer graph on one image; `frames` are integers `[T, *input shape]`."""

    def __init__(self, graph, frames):
        self.nodes, self.frames, self.known = graph.nodes, frames, {}

    def breaks(self, name):
        operation = self.nodes[name].operation
        return isinstance(operation, Delay) and operation.steps.min() >= 1

    def leads(self, start, end):
        seen, waiting = set(), [start]
        while waiting:
            here = waiting.pop()
            if self.breaks(here):
                continue
            if here == end:
                return True
            behind = [name for name, node in self.nodes.items() if here in node.sources and name not in seen]
            waiting += behind
            seen.update(behind)
        return False

    def late(self, source, reader):
        return isinstance(self.nodes[source].operation, LoihiLif) and self.leads(reader, source)

    def x(self, name, t):
        shape = self.nodes[name].input_shape
        total = np.zeros(shape)
        for source in self.nodes[name].sources:
            late = self.late(source, name)
            if not late or t:
                total = total + self.y(source, t - late).reshape(shape)
        return total

    def y(self, name, t):
        if (name, t) not in self.known:
            neurons = isinstance(self.nodes[name].operation, (LoihiLif, *READOUTS))
            self.known[name, t] = self.neurons(name, t)[0] if neurons else self.stateless(name, t)
        return self.known[name, t]

    def neurons(self, name, t):
        """What leaves neurons, and their state."""
        if ("state", name, t) not in self.known:
            before = self.neurons(name, t - 1)[1] if t else None
            step = self.fire if isinstance(self.nodes[name].operation, LoihiLif) else self.integrate
            self.known["state", name, t] = step(name, self.x(name, t), before)
        return self.known["state", name, t]

    def fire(self, name, x, before):
        node, spikes = self.nodes[name], np.zeros(self.nodes[name].shape)
        u, v = (np.zeros(node.shape, object), np.zeros(node.shape, object)) if before is None else before
        u, v = u.copy(), v.copy()
        lif = node.operation
        drive = np.broadcast_to(lif.drive, node.shape)
        of_u, of_v = (np.broadcast_to(decay, node.shape) for decay in (lif.current_decay, lif.decay))
        for n in np.ndindex(node.shape):
            current = lost(u[n], int(of_u[n])) + 64 * (int(x[n]) + int(drive[n]))
            current = (current + LIMIT - 1) % (2 * LIMIT) - LIMIT + 1
            bias = int(lif.bias_mantissa[n]) * 2**lif.bias_exponent
            u[n], v[n] = current, max(1 - LIMIT, min(LIMIT - 1, lost(v[n], int(of_v[n])) + current + bias))
            if v[n] > 64 * int(lif.threshold[n]):
                spikes[n], v[n] = 1, 0 if lif.lowering is None else v[n] - 64 * int(lif.lowering[n])
        return spikes, (u, v)

    def integrate(self, name, x, before):
        """A readout's neurons, on the host, in floats."""
        operation = self.nodes[name].operation
        leak = np.asarray(getattr(operation, "leak", 0.0), np.float64)
        i, v = (0.0, np.broadcast_to(leak, x.shape)) if before is None else before
        if isinstance(operation, CubaLi):
            x = i = i + operation.current_decay * (operation.weight * x - i)
        if isinstance(operation, Integrator):
            v = v + operation.gain * x
        else:
            v = v + operation.decay * (leak + operation.gain * x - v)
        return v, (i, v)

    def stateless(self, name, t):
        node = self.nodes[name]
        if isinstance(node.operation, Source):
            return self.frames[t]
        if isinstance(node.operation, Delay):
            y = np.zeros(node.shape)
            for n in np.ndindex(node.shape):
                if node.operation.steps[n] <= t:
                    y[n] = self.x(name, t - node.operation.steps[n])[n]
            return y
        x = self.x(name, t)
        match node.operation:
            case Sink():
                return x
            case Affine(weight=weight, bias=bias):
                return np.array([sum(int(w) * int(a) for w, a in zip(row, x, strict=True)) + int(b)
                                 for row, b in zip(weight, bias, strict=True)], float)  # fmt: skip
            case Scale(scale=scale):
                return x * scale
            case Conv2d(weight, bias, stride, padding, dilation, groups):
                return convolved(x, weight, bias, stride, padding, dilation, groups)
            case SumPool2d(kernel, stride, padding, 1):
                ones = np.ones((len(x), 1, *kernel))
                return convolved(x, ones, np.zeros(len(x)), stride, padding, (1, 1), len(x))
        raise NotImplementedError(type(node.operation).__name__)


def lost(value, decay):
    """What is left of it, toward zero."""
    left = abs(value) * (4096 - decay) // 4096
    return left if value >= 0 else -left


def run(graph, frames):
    """Spikes and last v of every population, and the output: `[N, T, *shape]`, `[N, *shape]`, `[N, T, *shape]`."""
    images = [ChipOracle(graph, image) for image in frames]
    steps = range(frames.shape[1])
    names = [node.name for node in graph.populations]
    spikes = {name: np.array([[oracle.y(name, t) for t in steps] for oracle in images]) != 0 for name in names}
    last = {name: np.array([oracle.neurons(name, steps[-1])[1][1] for oracle in images]) for name in names}
    output = np.array([[oracle.y(graph.output, t) for t in steps] for oracle in images])
    return spikes, last, output
