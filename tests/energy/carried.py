"""A whole graph's operations counted one by one in plain Python: every spike carried along every way, step by step.

Written without a look at `energy`: it knows NIR's own nodes, and what `tests.neuromorphic.oracle` says of edges.
"""

from collections import Counter, deque
from itertools import product
from math import prod

import nir
import numpy as np

from tests.neuromorphic.oracle import NEURONS, SPIKING

KERNELS = (nir.Conv2d, nir.Conv1d)
POOLS = (nir.SumPool2d, nir.AvgPool2d)
PRODUCTS = (*KERNELS, nir.Affine, nir.Linear, nir.Scale)
LINEAR = (*PRODUCTS, *POOLS)


class Carried:
    """The synapses and ways of a graph; elements are numbered, so that flattening leaves them as they are.

    Args:
        oracle: of the graph on one image.
        steps: T.
    """

    def __init__(self, oracle, steps):
        self.nodes, self.steps = oracle.nodes, steps
        names = [name for name in self.nodes if not oracle.passes(name)]
        self.shapes = {name: np.shape(oracle.y(name, 0)) for name in names}
        self.read = {name: np.shape(oracle.x(name, 0)) for name in names if oracle.sources[name]}
        self.waits = {n: oracle.steps(n).reshape(-1).tolist() for n in names if isinstance(self.nodes[n], nir.Delay)}
        self.edges = [(s, n, int(oracle.late(s, n))) for n in names for s, _ in oracle.sources[n]]
        self.leading = {name: [(n, late) for s, n, late in self.edges if s == name] for name in names}
        self.synapses = {n: self.reached(n) for n in names if isinstance(self.nodes[n], (*LINEAR, *NEURONS))}
        self.pools_of_spikes()

    def reached(self, name):
        """Per element that arrives, the elements that its synapses end in."""
        node, found = self.nodes[name], [[] for _ in range(prod(self.read[name]))]
        if isinstance(node, nir.Affine | nir.Linear):
            return [list(range(len(node.weight))) for _ in found]
        if not isinstance(node, (*KERNELS, *POOLS)):
            return [[element] for element in range(len(found))]
        read, made = (
            shape if len(shape) == 3 else (shape[0], 1, shape[1]) for shape in (self.read[name], self.shapes[name])
        )
        kernel, (sh, sw), (ph, pw), (dh, dw) = window(node)
        for (o, i, j), (c, m, n) in product(np.ndindex(made), np.ndindex(read[0], *kernel)):
            y, x = i * sh - ph + dh * m, j * sw - pw + dw * n
            if (o, c) in self.pairs(name) and 0 <= y < read[1] and 0 <= x < read[2]:
                found[(c * read[1] + y) * read[2] + x].append((o * made[1] + i) * made[2] + j)
        return found

    def pairs(self, name):
        """The (out, in) channels that see each other."""
        node, channels, out = self.nodes[name], self.read[name][0], self.shapes[name][0]
        if isinstance(node, POOLS):
            return {(c, c) for c in range(channels)}
        return {(o, c) for o, c in product(range(out), range(channels))
                if o * node.groups // out == c * node.groups // channels}  # fmt: skip

    def pools_of_spikes(self):
        """Names of the pools that read nothing but spikes and sums of spikes."""
        self.pools = set()
        while more := {n for n in self.shapes if isinstance(self.nodes[n], POOLS) and not self.real(n)} - self.pools:
            self.pools |= more
        return self.pools

    def adds_up(self, sender, reader):
        """Whether `reader` adds up what `sender` sends, one by one: spikes, and pooled spikes behind more synapses."""
        if sender in self.waits:
            return all(self.adds_up(s, reader) for s, n, _ in self.edges if n == sender)
        pooled = sender in self.pools and not isinstance(self.nodes[reader], NEURONS)
        return isinstance(self.nodes[sender], SPIKING) or pooled

    def sent(self, spikes):
        """By population and pool, how many events each element sends in each step: Counters over (element, step).

        Args:
            spikes: of one image, bool `[T, *shape]` by population.
        """
        found = {
            name: Counter({(e, t): 1 for t, e in np.argwhere(train.reshape(len(train), -1)).tolist()})
            for name, train in spikes.items()
        }
        waiting = set(self.pools)
        while waiting:
            (pool, *_) = [p for p in sorted(waiting) if not any(self.reaches(other, p) for other in waiting)]
            waiting.remove(pool)
            sums = Counter()
            for sender in list(found):
                for (reader, element, t), events in self.arrivals(sender, found[sender]).items():
                    if reader == pool and t < self.steps:
                        for end in self.synapses[pool][element]:
                            sums[end, t] += events
            found[pool] = sums
        return found

    def reaches(self, sender, reader):
        """Whether something that `sender` sends arrives at `reader`, waiting at most."""
        return any(n == reader or (n in self.waits and self.reaches(n, reader)) for n, _ in self.leading[sender])

    def arrivals(self, sender, events):
        """Where and when events arrive: a Counter over (reader, element, step)."""
        arrived = Counter()
        going = [(sender, element, t, n) for (element, t), n in events.items()]
        while going:
            name, element, t, n = going.pop()
            for reader, late in self.leading[name]:
                if reader in self.waits:
                    going.append((reader, element, t + late + self.waits[reader][element], n))
                elif reader in self.synapses and self.adds_up(sender, reader):
                    arrived[reader, element, t + late] += n
        return arrived

    def carry(self, sender, events):
        """SOPs and arrivals that events of one image cause: Counters over (reader, step)."""
        sops, arrived = Counter(), Counter()
        for (reader, element, t), n in self.arrivals(sender, events).items():
            sops[reader, t] += n * len(self.synapses[reader][element])
            arrived[reader, t] += n
        return sops, arrived

    def ways(self, source):
        """How many ways lead from a population or pool to each node whose synapses add up what it sends."""
        found, going = Counter(), [source]
        while going:
            for reader, _ in self.leading[going.pop()]:
                if reader in self.waits:
                    going.append(reader)
                elif self.adds_up(source, reader):
                    found[reader] += 1
        return found

    def real(self, name):
        """The sources of a node that send real values."""
        return [s for s, n, _ in self.edges if n == name and not self.adds_up(s, name)]

    def driven_by_spikes(self, name, within=()):
        """Whether a node sends currents that spikes alone drive, without a bias on any way."""
        node = self.nodes[name]
        linear = isinstance(node, LINEAR) and name not in self.pools and not np.any(getattr(node, "bias", 0))
        if name in within or not (linear or name in self.waits):
            return False
        return all(
            self.adds_up(s, name) or self.driven_by_spikes(s, (*within, name)) for s, n, _ in self.edges if n == name
        )

    def currents(self, name, sent):
        """The (element, step) at which currents of spikes arrive at a node."""
        found = set()
        for s, _, late in [edge for edge in self.edges if edge[1] == name and not self.adds_up(edge[0], name)]:
            leaving = (
                {(e, t + self.waits[s][e]) for e, t in self.currents(s, sent)}
                if s in self.waits
                else {(end, t) for e, t in self.currents(s, sent) | self.summed(s, sent) for end in self.synapses[s][e]}
            )
            found |= {(e, t + late) for e, t in leaving if t + late < self.steps}
        return found

    def summed(self, name, sent):
        """The (element, step) at which events arrive at a node."""
        return {(element, t) for sender, events in sent.items()
                for reader, element, t in self.arrivals(sender, events)
                if reader == name and t < self.steps}  # fmt: skip

    def products(self, name):
        """Of one evaluation, taps on the padding included."""
        node = self.nodes[name]
        if isinstance(node, KERNELS):
            return len(self.pairs(name)) * prod(node.weight.shape[2:]) * prod(self.shapes[name][1:])
        if isinstance(node, POOLS):
            return prod(node.kernel_size.tolist()) * prod(self.shapes[name])
        return node.weight.size if isinstance(node, nir.Affine | nir.Linear) else prod(self.shapes[name])

    def constant(self, name):
        """Whether a node's output is the same in every step of an image that shows one frame."""
        if isinstance(self.nodes[name], nir.Input):
            return True
        if isinstance(self.nodes[name], NEURONS) or any(self.waits.get(name, ())):
            return False
        return all(self.constant(s) for s, n, _ in self.edges if n == name)

    def only_the_output_reads(self, name):
        """Whether nothing but sums and products leads from here to the output."""
        readers = [reader for reader, _ in self.leading[name]]
        return all(isinstance(self.nodes[r], (nir.Output, *LINEAR)) and self.only_the_output_reads(r) for r in readers)

    def macs(self, name, sent):
        """Of one image: where something arrives, the constant used once, summed over the steps first, and all taps."""
        if not self.real(name) or not isinstance(self.nodes[name], PRODUCTS):
            return (0, 0, 0, 0)
        each = self.products(name)
        once = all(self.constant(s) for s in self.real(name))
        summed = self.only_the_output_reads(name)
        dense = needed = each * self.steps
        if all(self.driven_by_spikes(s) for s in self.real(name)):
            needed = sum(len(self.synapses[name][element]) for element, _ in self.currents(name, sent))
        return (needed, each if once else needed, each if summed else needed, dense)

    def additions(self, name):
        """Of biases, pools and branches, in one image."""
        node, real = self.nodes[name], self.real(name)
        bias = prod(self.shapes[name]) if np.any(getattr(node, "bias", 0)) else 0
        pooled = sum(map(len, self.synapses[name])) if real and isinstance(node, POOLS) else 0
        fan_in = max(0, len(real) - 1) * prod(self.read.get(name, (0,)))
        return tuple(n * self.steps for n in (bias, pooled, fan_in))

    def touched(self, spikes):
        """Per node of neurons the (step, element) at which something arrives, from the spikes of one image, by name."""
        every = list(range(self.steps))
        sent = deque()
        for name, node in self.nodes.items():
            if isinstance(node, SPIKING):
                sent += [(name, t, e) for t, e in np.argwhere(spikes[name].reshape(self.steps, -1)).tolist()]
            elif name in self.shapes and isinstance(node, (nir.Input, *NEURONS)):
                sent += product([name], every, range(prod(self.shapes[name])))
            elif np.any(getattr(node, "bias", 0)):
                per_channel = prod(self.shapes[name][1:])
                sent += [
                    (name, t, e) for t in every for e in range(prod(self.shapes[name])) if node.bias[e // per_channel]
                ]
        known, found = set(sent), {name: set() for name, node in self.nodes.items() if isinstance(node, NEURONS)}
        while sent:
            name, t, element = sent.popleft()
            for reader, late in self.leading[name]:
                if reader in found:
                    found[reader].add((t + late, element))
                    continue
                wait = self.waits[reader][element] if reader in self.waits else 0
                ends = self.synapses[reader][element] if reader in self.synapses else [element]
                passed = {(reader, t + late + wait, e) for e in ends if t + late + wait < self.steps} - known
                known |= passed
                sent += passed
        return found

    def needed(self, name, spikes, touched):
        """Updates of one node's neurons that are needed in each step of one image; `spikes` are its own."""
        node, found = self.nodes[name], [0] * self.steps
        leaks = isinstance(node, nir.LIF | nir.CubaLIF | nir.LI | nir.CubaLI)
        never = isinstance(node, nir.LIF | nir.CubaLIF) and (np.any(node.v_leak) or np.any(node.v_reset))
        never |= isinstance(node, nir.Threshold) and bool(np.any(node.threshold < 0))
        for element in range(prod(self.shapes[name])):
            rest = True
            for t in range(self.steps):
                arrives = (t, element) in touched
                found[t] += bool(never or not rest or arrives)
                rest = rest and not (arrives and leaks)
                if isinstance(node, nir.LIF) and spikes[t].reshape(-1)[element]:
                    rest = True
        return found


def window(node):
    """Kernel, stride, padding and dilation, each (vertical, horizontal)."""
    if isinstance(node, nir.Conv1d):
        return (1, node.weight.shape[2]), (1, node.stride), (0, node.padding), (1, node.dilation)
    if isinstance(node, nir.Conv2d):
        return node.weight.shape[2:], node.stride, node.padding, node.dilation
    return node.kernel_size.tolist(), node.stride.tolist(), node.padding.tolist(), (1, 1)
