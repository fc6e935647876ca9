"""Random compositions of what the chip has: spikes through synapses into neurons, in cycles and with shortcuts."""

import nir
import numpy as np

from tests.neuromorphic.compositions import SECONDS, Composer


class ChipComposer(Composer):
    """Adds random branches that read the input, `[2, 4, 4]`; in `kinds`, what they are made of.

    Currents pass no second synapse, neurons of a population decay alike, and what follows the last population is the
    readout.  Numbers are real.
    """

    NEURONS = (nir.LIF, nir.IF, nir.CubaLIF, nir.Threshold)
    READOUTS = (nir.I, nir.LI, nir.CubaLI)

    def __init__(self, seed):
        super().__init__(seed, dyadic=False)

    def note(self, *kinds):
        self.kinds.update(kinds)

    def full(self, shape, low, high):
        return np.full(shape, self.rng.uniform(low, high), np.float32)

    def tau(self, shape):
        """Of all neurons of a population: dt itself now and then, where nothing is left of a step."""
        if self.rng.random() < 0.15:
            self.note("no memory")
            return np.full(shape, SECONDS)
        return self.full(shape, 1.2, 9) * SECONDS

    def neuron(self, kind, shape):
        zero, one = np.zeros(shape, np.float32), np.ones(shape, np.float32)
        leak, reset = self.numbers(shape, -1, 2) / 2, -self.either(shape, 0, 0, 0.25)
        rest = (leak, self.either(shape, 0.5, 1), reset) if self.rng.random() < 0.5 else (zero, one, zero)
        if rest[0].any():
            self.note("rests elsewhere")
        gain = self.either(shape, 0.5, 1, 2)
        match kind:
            case nir.LIF:
                return nir.LIF(self.tau(shape), gain, *rest)
            case nir.IF:
                return nir.IF(gain / SECONDS, *rest[1:])
            case nir.CubaLIF:
                synapse = self.full(shape, 1.2, 9) * SECONDS
                return nir.CubaLIF(self.tau(shape), synapse, gain, *rest, self.either(shape, 0.5, 1, 2))
            case nir.Threshold:
                return nir.Threshold(self.either(shape, 0.25, 0.5, 1))
        return super().neuron(kind, shape)

    def synapses_of(self, shape):
        """A node that weighs spikes, and the shape of its currents."""
        kinds = {1: (nir.Affine, nir.Linear, nir.Scale), 2: (nir.Conv1d, nir.Scale)}
        kinds[3] = (nir.Conv2d, nir.Conv2d, nir.SumPool2d, nir.AvgPool2d, nir.Scale)
        made = None
        while made is None:
            made = self.synapses(kinds[len(shape)][self.rng.integers(len(kinds[len(shape)]))], shape)
        return made

    def passed_on(self, name, last, shape):
        """What may stand between synapses and neurons: a factor, a mean, a delay, a flattening."""
        weighs = self.nodes[last]
        matrix = isinstance(weighs, nir.Affine | nir.Linear | nir.Conv1d | nir.Conv2d)
        if matrix and self.rng.random() < 0.25:
            scale = np.broadcast_to(self.numbers(shape[0]).reshape(-1, *[1] * (len(shape) - 1)), shape)
            last = self.add(f"{name}.factor", nir.Scale(scale.copy()), last)
            self.note("factor of currents")
        if matrix and len(shape) == 3 and min(shape[1:]) > 1 and self.rng.random() < 0.4:
            last = self.add(f"{name}.mean", nir.AvgPool2d(*np.array([[2, 2], [1, 1], [0, 0]])), last)
            shape = (shape[0], shape[1] - 1, shape[2] - 1)
            self.note("mean of currents")
        if self.rng.random() < 0.2:
            if hasattr(weighs, "bias"):
                weighs.bias = np.zeros_like(weighs.bias)
            last = self.add(f"{name}.held", nir.Delay(self.rng.integers(0, 3, shape) * SECONDS), last)
            self.note("delay of currents")
        if len(shape) > 1 and self.rng.random() < 0.4:
            start = int(self.rng.integers(len(shape) - 1))
            last = self.add(f"{name}.flat", nir.Flatten({"input": np.array(shape)}, start, -1), last)
            shape = (*shape[:start], int(np.prod(shape[start:])))
        return last, shape

    def loop(self, name, source, size):
        """As of any composition, but that what is late has no bias."""
        result = super().loop(name, source, size)
        if (f"{name}.w", f"{name}.late") in self.edges:
            self.nodes[f"{name}.w"].bias = np.zeros(size, np.float32)
        return result

    def branch(self, prefix, populations=3):
        last, shape, before = "input", self.SHAPE, []
        for index in range(populations):
            name = f"{prefix}{index}"
            if self.rng.random() < 0.2:
                last = self.add(f"{name}.wait", nir.Delay(self.rng.integers(0, 3, shape) * SECONDS), last)
                self.note("delay of spikes")
            node, shape = self.synapses_of(shape)
            currents, shape = self.passed_on(name, self.add(f"{name}.syn", node, last), shape)
            if len(shape) == 1 and self.rng.random() < 0.7:
                last = self.loop(name, currents, shape[0])
            else:
                last = self.add(name, self.neuron(self.NEURONS[self.rng.integers(4)], shape), currents)
            same = [other for other, its in before if its == shape]
            if same and self.rng.random() < 0.6:
                self.edges.append((same[-1], name))
                self.note("shortcut")
            before.append((last, shape))
        self.last, self.shape = last, shape

    def graph(self, *, membranes=True):
        """The graph with a readout behind the last branch: a matrix, and neurons that send membranes now and then."""
        last, shape = self.last, self.shape
        if len(shape) > 1:
            last = self.add("flat", nir.Flatten({"input": np.array(shape)}, 0, -1), last)
        last = self.add("readout", nir.Affine(self.numbers((3, int(np.prod(shape)))), self.numbers(3)), last)
        if membranes and self.rng.random() < 0.5:
            kind = self.READOUTS[self.rng.integers(3)]
            last = self.add("membranes", Composer.neuron(self, kind, (3,)), last)
        return nir.NIRGraph(self.nodes, [*self.edges, (last, "output")], type_check=False)
