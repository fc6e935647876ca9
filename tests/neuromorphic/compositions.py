"""Random compositions of every NIR primitive, with numbers whose sums are exact in float64."""

import nir
import numpy as np

from tests.neuromorphic.graphs import DT

SECONDS = np.float32(DT)


class Composer:
    """Adds random branches to a graph: each reads the input, `[2, 4, 4]`, and ends in three numbers."""

    SHAPE = (2, 4, 4)

    def __init__(self, seed, dyadic=True):
        self.rng = np.random.default_rng(seed)
        self.dyadic = dyadic
        self.nodes = {"input": nir.Input(np.array(self.SHAPE)), "output": nir.Output(np.array([3]))}
        self.edges = []
        self.kinds = set()

    def numbers(self, shape, low=-8, high=9):
        """Multiples of 1/4, or of nothing."""
        if self.dyadic:
            return (self.rng.integers(low, high, shape) / 4).astype(np.float32)
        return self.rng.uniform(low / 4, high / 4, shape).astype(np.float32)

    def either(self, shape, *options):
        """Every neuron draws one of these."""
        drawn = self.rng.choice(np.array(options, np.float32), shape).astype(np.float32)
        return drawn if self.dyadic else drawn * self.rng.uniform(0.75, 1.25, shape).astype(np.float32)

    def tau(self, shape):
        if self.dyadic:
            return self.either(shape, 1, 2, 4) * SECONDS
        return self.rng.uniform(1.1, 9, shape).astype(np.float32) * SECONDS

    def neuron(self, kind, shape):
        threshold, reset = self.either(shape, 0.25, 0.5, 1, 1.5), -self.either(shape, 0, 0, 0.25, 0.5)
        gain, leak = self.either(shape, 0.5, 1, 2), self.numbers(shape, -2, 3)
        match kind:
            case nir.LIF:
                return nir.LIF(self.tau(shape), gain, leak, threshold, reset)
            case nir.IF:
                return nir.IF(gain / SECONDS, threshold, reset)
            case nir.CubaLIF:
                weight = self.either(shape, 0.5, 1, 2)
                return nir.CubaLIF(self.tau(shape), self.tau(shape), gain, leak, threshold, reset, weight)
            case nir.Threshold:
                return nir.Threshold(self.numbers(shape, -2, 6))
            case nir.I:
                return nir.I(gain / SECONDS)
            case nir.LI:
                return nir.LI(self.tau(shape), gain, leak)
            case nir.CubaLI:
                return nir.CubaLI(self.tau(shape), self.tau(shape), gain, leak, self.either(shape, 0.5, 1, 2))
        raise NotImplementedError(kind)

    def window(self, size):
        """Kernel, stride, padding and dilation that leave something of a map."""
        kernel = self.rng.integers(1, 3, 2) * [1, 1]
        dilation = self.rng.integers(1, 3, 2)
        padding = np.maximum(self.rng.integers(0, 2, 2), dilation * (kernel - 1) + 1 - np.array(size))
        return kernel, self.rng.integers(1, 3, 2), padding, dilation

    def synapses(self, kind, shape):
        """A node of that kind on maps of that shape, and the shape of what leaves it; None where there is none."""
        groups = int(self.rng.choice([g for g in (1, 2) if shape[0] % g == 0]))
        out = groups * int(self.rng.integers(1, 4))
        if kind in (nir.Conv2d, nir.SumPool2d, nir.AvgPool2d) and len(shape) == 3:
            kernel, stride, padding, dilation = self.window(shape[1:])
            if kind is nir.Conv2d:
                weight = self.numbers((out, shape[0] // groups, *kernel))
                pairs = (tuple(int(n) for n in pair) for pair in (stride, padding, dilation))
                node = nir.Conv2d(None, weight, *pairs, groups, self.numbers(out))
            else:
                dilation, out = np.array([1, 1]), shape[0]
                node = kind(kernel, stride, padding)
            size = (np.array(shape[1:]) + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
            return node, (out, *(int(n) for n in size))
        if kind is nir.Conv1d and len(shape) == 2:
            kernel, stride, padding, dilation = (int(n[0]) for n in self.window((shape[1], shape[1])))
            weight = self.numbers((out, shape[0] // groups, kernel))
            node = nir.Conv1d(None, weight, stride, padding, dilation, groups, self.numbers(out))
            return node, (out, (shape[1] + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1)
        if kind in (nir.Affine, nir.Linear) and len(shape) == 1:
            weight = self.numbers((out, shape[0]))
            return (nir.Affine(weight, self.numbers(out)) if kind is nir.Affine else nir.Linear(weight)), (out,)
        if kind is nir.Scale:
            return nir.Scale(self.numbers(shape)), shape
        if kind is nir.Delay:
            return nir.Delay(self.rng.integers(0, 4, shape).astype(np.float32) * SECONDS), shape
        if kind is nir.Flatten and len(shape) > 1:
            start = int(self.rng.integers(0, len(shape) - 1))
            end = int(self.rng.integers(start + 1, len(shape)))
            node = nir.Flatten({"input": np.array(shape)}, start, end)
            return node, (*shape[:start], int(np.prod(shape[start : end + 1])), *shape[end + 1 :])
        return None

    NEURONS = (nir.LIF, nir.IF, nir.CubaLIF, nir.Threshold, nir.I, nir.LI, nir.CubaLI)
    SYNAPSES = (nir.Conv2d, nir.SumPool2d, nir.AvgPool2d, nir.Conv1d, nir.Affine, nir.Linear, nir.Scale, nir.Delay,
                nir.Flatten)  # fmt: skip

    def add(self, name, node, *sources):
        self.nodes[name] = node
        self.edges += [(source, name) for source in sources]
        self.kinds.add(type(node).__name__)
        return name

    def loop(self, name, source, size):
        """Neurons that read themselves: at once, through a matrix, in a subgraph, by others' way, or after a delay."""
        kind = self.NEURONS[self.rng.integers(4)]
        way = self.rng.choice(["self", "matrix", "subgraph", "two", "delay", "late currents"])
        self.kinds.add(str(way))
        weight = nir.Affine(self.numbers((size, size)), self.numbers(size))
        if way == "subgraph":
            end = np.array([size])
            nodes = {"in": nir.Input(end), "lif": self.neuron(kind, (size,)), "w_rec": weight, "out": nir.Output(end)}
            edges = [("in", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "out")]
            return self.add(name, nir.NIRGraph(nodes, edges, type_check=False), source)
        self.add(name, self.neuron(kind, (size,)), source)
        if way == "self":
            self.edges.append((name, name))
        elif way == "matrix":
            self.edges.append((self.add(f"{name}.w", weight, name), name))
        elif way == "two":
            other = self.neuron(self.NEURONS[self.rng.integers(len(self.NEURONS))], (size,))
            self.add(f"{name}.other", other, self.add(f"{name}.w", weight, name))
            self.edges.append((f"{name}.other", name))
        else:
            steps = self.rng.integers(1, 3, size).astype(np.float32)
            made = {"late": nir.Delay(steps * SECONDS), "w": weight}
            last = name
            for part in ("late", "w") if way == "delay" else ("w", "late"):
                last = self.add(f"{name}.{part}", made[part], last)
            self.edges.append((last, name))
        return name

    def branch(self, prefix, length=5):
        """Neurons and synapses in a random order, loops and shortcuts among them."""
        last, shape, before = "input", self.SHAPE, []
        for index in range(length):
            name = f"{prefix}{index}"
            if len(shape) == 1 and self.rng.random() < 0.6:
                last = self.loop(name, last, shape[0])
            elif self.rng.random() < 0.5:
                kind = self.NEURONS[self.rng.integers(len(self.NEURONS))]
                last = self.add(name, self.neuron(kind, shape), last)
            else:
                made = None
                while made is None:
                    made = self.synapses(self.SYNAPSES[self.rng.integers(len(self.SYNAPSES))], shape)
                node, shape = made
                last = self.add(name, node, last)
            same = [other for other, its in before if its == shape and other != last]
            if same and self.rng.random() < 0.4:
                last = self.add(f"{name}.sum", nir.Scale(self.numbers(shape)), last, same[-1])
            before.append((last, shape))
        if len(shape) > 1:
            last = self.add(f"{prefix}flat", nir.Flatten({"input": np.array(shape)}, 0, -1), last)
        readout = nir.Linear(self.numbers((3, int(np.prod(shape)))))
        self.edges.append((self.add(f"{prefix}readout", readout, last), "output"))

    def graph(self):
        return nir.NIRGraph(self.nodes, self.edges, type_check=False)

    def frames(self, images, steps):
        return self.numbers((images, steps, *self.SHAPE), -12, 13)


def tangle(seed):
    """Neurons, matrices, flattening and delays on single numbers, joined by edges at random; and frames for them.

    Many have no meaning: cycles of matrices alone.
    """
    compose = Composer(seed)
    rng, count = compose.rng, int(compose.rng.integers(1, 9))
    ends = {"input": nir.Input(np.array([1])), "output": nir.Output(np.array([1]))}
    made = {}
    for name in "abcdefgh"[:count]:
        made[name] = [
            lambda: compose.neuron(Composer.NEURONS[rng.integers(len(Composer.NEURONS))], (1,)),
            lambda: nir.Linear(compose.numbers((1, 1))),
            lambda: nir.Flatten({"input": np.array([1])}, 0, -1),
            lambda: nir.Delay(np.full(1, SECONDS * rng.integers(0, 3))),
        ][max(0, rng.integers(-2, 4))]()
    names = list(made)
    edges = {("input", names[0]), (names[-1], "output")}
    edges |= {(names[rng.integers(i)], names[i]) for i in range(1, count)}
    edges |= {tuple(names[i] for i in rng.integers(0, count, 2)) for _ in range(rng.integers(0, 3 * count))}
    graph = nir.NIRGraph({**ends, **made}, sorted(edges), type_check=False)
    return graph, compose.numbers((2, 4, 1), -12, 13)
