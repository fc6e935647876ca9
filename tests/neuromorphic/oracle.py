"""What a NIR graph means in time steps, written from NIR's equations alone: loops, and no state but memory.

The value of a node at a step is a function of its inputs at that step and of its own state at the step before; nothing
here knows an order of nodes, a latency or a matrix product.  One image at a time, in Python's floats.
"""

import itertools

import nir
import numpy as np

NEURONS = (nir.LIF, nir.IF, nir.CubaLIF, nir.Threshold, nir.I, nir.LI, nir.CubaLI)
SPIKING = (nir.LIF, nir.IF, nir.CubaLIF, nir.Threshold)


class Oracle:
    """The values of `graph` on one image; `frames` are `[T, *input shape]`."""

    def __init__(self, graph, frames, dt):
        self.nodes, self.edges = {}, []
        self.inline(graph, "")
        self.frames, self.dt = frames.astype(np.float64), dt
        self.known = {}
        self.sources = {name: list(self.expand(name)) for name in self.nodes}

    def inline(self, graph, prefix):
        for name, node in graph.nodes.items():
            if isinstance(node, nir.NIRGraph):
                self.inline(node, f"{prefix}{name}.")
            else:
                self.nodes[prefix + name] = node
        for before, after in graph.edges:
            ends = []
            for name, kind in ((before, nir.Output), (after, nir.Input)):
                inner = graph.nodes[name]
                if isinstance(inner, nir.NIRGraph):
                    name += "." + next(n for n, node in inner.nodes.items() if isinstance(node, kind))
                ends.append(prefix + name)
            self.edges.append(tuple(ends))

    def passes(self, name):
        inner = "." in name and isinstance(self.nodes[name], nir.Input | nir.Output)
        return inner or isinstance(self.nodes[name], nir.Flatten)

    def expand(self, name):
        """What a node sums: (source, the flattenings between them)."""
        for before, after in self.edges:
            if after == name and self.passes(before):
                yield from ((source, [*through, self.nodes[before]]) for source, through in self.expand(before))
            elif after == name:
                yield before, []

    def breaks(self, name):
        return isinstance(self.nodes[name], nir.Delay) and np.min(self.steps(name)) >= 1

    def leads(self, start, end):
        """Whether a way leads from `start` to `end` that no Delay of a step or more is on, `end` included."""
        seen, waiting = set(), [start]
        while waiting:
            here = waiting.pop()
            if self.breaks(here):
                continue
            if here == end:
                return True
            waiting += [after for before, after in self.edges if before == here and after not in seen]
            seen.update(waiting)
        return False

    def late(self, source, reader):
        return isinstance(self.nodes[source], NEURONS) and self.leads(reader, source)

    def steps(self, name):
        return np.rint(np.asarray(self.nodes[name].delay, np.float64) / self.dt).astype(int)

    def x(self, name, t):
        """The sum that arrives at a node."""
        total = 0.0
        for source, flattenings in self.sources[name]:
            late = self.late(source, name)
            if late and t == 0:
                node = self.nodes[source]
                value = np.zeros((node.threshold if isinstance(node, nir.Threshold) else node.r).shape)
            else:
                value = self.y(source, t - 1 if late else t)
            for node in flattenings:
                value = flattened(value, node)
            total = total + value
        return total

    def y(self, name, t):
        """What leaves a node."""
        if (name, t) not in self.known:
            self.known[name, t] = self.neuron(name, t)[0] if self.is_neuron(name) else self.stateless(name, t)
        return self.known[name, t]

    def is_neuron(self, name):
        return isinstance(self.nodes[name], NEURONS)

    def state(self, name, t):
        """(i, v) after step t; before the first step no current, v reset, or at its leak where nothing resets it."""
        node = self.nodes[name]
        if t < 0:
            start = getattr(node, "v_reset", getattr(node, "v_leak", 0.0))
            return 0.0, np.asarray(0.0 if start is None else start, np.float64)
        if ("state", name, t) not in self.known:
            self.known["state", name, t] = self.neuron(name, t)[1]
        return self.known["state", name, t]

    def neuron(self, name, t):
        node, x = self.nodes[name], self.x(name, t)
        i, v = self.state(name, t - 1)
        p = {
            k: np.asarray(value, np.float64)
            for k, value in vars(node).items()
            if isinstance(value, np.ndarray | np.generic)
        }
        match node:
            case nir.Threshold():
                return (x > p["threshold"]) * 1.0, (i, v)
            case nir.IF() | nir.I():
                v = v + self.dt * p["r"] * x
            case nir.LIF() | nir.LI():
                v = v + self.per_step(p["tau"]) * (p["v_leak"] - v + p["r"] * x)
            case nir.CubaLIF() | nir.CubaLI():
                i = i + self.per_step(p["tau_syn"]) * (p["w_in"] * x - i)
                v = v + self.per_step(p["tau_mem"]) * (p["v_leak"] - v + p["r"] * i)
        if not isinstance(node, SPIKING):
            return v, (i, v)
        fired = v > p["v_threshold"]
        return fired * 1.0, (i, np.where(fired, p["v_reset"], v))

    def per_step(self, tau):
        """dt / tau, with both as a float32 file holds them."""
        return (np.float32(self.dt) / tau.astype(np.float32)).astype(np.float64)

    def stateless(self, name, t):
        node = self.nodes[name]
        if isinstance(node, nir.Input):
            return self.frames[t]
        if isinstance(node, nir.Delay):
            waits = self.steps(name)
            y = np.zeros(waits.shape)
            for where in np.ndindex(waits.shape):
                if waits[where] <= t:
                    y[where] = self.x(name, t - waits[where])[where]
            return y
        x = self.x(name, t)
        match node:
            case nir.Output():
                return x
            case nir.Affine() | nir.Linear():
                bias = getattr(node, "bias", np.zeros(len(node.weight)))
                return np.array([sum(w * a for w, a in zip(row.tolist(), x.tolist(), strict=True)) + float(b)
                                 for row, b in zip(node.weight, bias, strict=True)])  # fmt: skip
            case nir.Scale():
                return x * node.scale
            case nir.Conv2d():
                ways = (pair(node.stride), padding(node.padding, node.weight), pair(node.dilation))
                return convolved(x, node.weight, node.bias, *ways, node.groups)
            case nir.Conv1d():
                along = ((1, pair(node.stride)[1]), (0, pair(node.padding)[1]), (1, pair(node.dilation)[1]))
                return convolved(x[:, None], node.weight[:, :, None], node.bias, *along, node.groups)[:, 0]
            case nir.SumPool2d() | nir.AvgPool2d():
                height, width = pair(node.kernel_size)
                ones = np.ones((len(x), 1, height, width))
                total = convolved(x, ones, np.zeros(len(x)), pair(node.stride), pair(node.padding), (1, 1), len(x))
                return total / (height * width) if isinstance(node, nir.AvgPool2d) else total
        raise NotImplementedError(type(node).__name__)


def flattened(value, node):
    if not isinstance(node, nir.Flatten):
        return value
    start, end = (n % value.ndim for n in (node.start_dim, node.end_dim))
    return value.reshape(*value.shape[:start], -1, *value.shape[end + 1 :])


def pair(value):
    """Both directions; libraries write one number for both too."""
    return tuple(int(n) for n in np.broadcast_to(value, 2))


def padding(value, weight):
    """Words too: of an odd kernel, `same` keeps a map's size at stride 1."""
    return (
        {"valid": (0, 0), "same": tuple(k // 2 for k in weight.shape[2:])}[value]
        if isinstance(value, str)
        else pair(value)
    )


def convolved(x, weight, bias, stride, padding, dilation, groups):
    """A cross-correlation of `[C, H, W]`, product by product."""
    (sh, sw), (ph, pw), (dh, dw) = stride, padding, dilation
    out_channels, per_group, kh, kw = weight.shape
    _, height, width = x.shape
    rows = (height + 2 * ph - dh * (kh - 1) - 1) // sh + 1
    columns = (width + 2 * pw - dw * (kw - 1) - 1) // sw + 1
    y = np.zeros((out_channels, rows, columns))
    for o, i, j in np.ndindex(y.shape):
        first = o // (out_channels // groups) * per_group
        total = float(bias[o])
        for c, m, n in itertools.product(range(per_group), range(kh), range(kw)):
            row, column = i * sh - ph + dh * m, j * sw - pw + dw * n
            if 0 <= row < height and 0 <= column < width:
                total += float(weight[o, c, m, n]) * x[first + c, row, column]
        y[o, i, j] = total
    return y


def run(graph, frames, dt=1e-4):
    """Spikes of every population and the output, `[N, T, *shape]`: bool by name, and float64.

    Args:
        graph: as `nir.read` returns it.
        frames: `[N, T, *input shape]`.
        dt: seconds per step.
    """
    images = [Oracle(graph, image, dt) for image in frames]
    steps = range(frames.shape[1])

    def over_time(name):
        return np.array([[oracle.y(name, t) for t in steps] for oracle in images])

    names = [name for name, node in images[0].nodes.items() if isinstance(node, SPIKING)]
    (output,) = (name for name, node in graph.nodes.items() if isinstance(node, nir.Output))
    return {name: over_time(name) != 0 for name in names}, over_time(output)
