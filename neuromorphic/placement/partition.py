"""The cut: every population into blocks that fit a core each, readers before what they read.

Around a cycle that order doesn't exist: what is heard by readers that were not cut yet is cut into more blocks once
they are, where it doesn't fit any more, until all do.

A core holds a block of one population, every synapse that ends in it and the axons to and from it.  Blocks are those
that Intel's compiler makes (its logs are in docs/placement.md):

    maps      a power of two of columns, all rows and channels or 1/2, 1/4 ... of them; the fewest blocks that fit, and
              among equally many those that take the least memory in all: they duplicate the fewest weights and axons
    others    n neurons in a row, and what is left in the last block; n begins at what a core holds and, as long as a
              block takes k times what a core has, is divided by k, rounded up
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby, product

import numpy as np

from neuromorphic.errors import RefusedInput
from neuromorphic.ops import Int64, Mask
from neuromorphic.placement.limits import Limits
from neuromorphic.placement.populations import Map, Population
from neuromorphic.placement.synapses import Cut, FanOut, fan_out


@dataclass(frozen=True)
class Demand:
    """Resources that each block of a population takes; every array is int64 `[a, b, d]`, memory in bytes.

    Attributes:
        slots: neurons that the largest block counts for, with columns that it leaves empty.
        neurons: in the block.
        synapses: connections that end in it.
        weights: memory of their weights; positions that share a weight store it once.
        state: memory of membranes, accumulators, biases and registers.
        axons_in: positions that it hears, per sender.
        axons_out: positions that it sends from, once per core that hears them.
        memory: all of it.
    """

    slots: int
    neurons: Int64
    synapses: Int64
    weights: Int64
    state: Int64
    axons_in: Int64
    axons_out: Int64
    memory: Int64

    def exceeded(self, limits: Limits) -> tuple[str, int, int] | None:
        """The limit that the largest block exceeds most: its name, the amount, the limit; None if it fits."""
        taken = [
            ("neurons", self.slots, limits.neurons),
            ("bytes of weights", int(self.weights.max()), limits.synaptic_memory),
            ("bytes of memory", int(self.memory.max()), limits.memory),
            ("axons in", int(self.axons_in.max()), limits.axons_in),
            ("axons out", int(self.axons_out.max()), limits.axons_out),
        ]
        worst = max(taken, key=lambda entry: entry[1] / entry[2])
        return worst if worst[1] > worst[2] else None


@dataclass(frozen=True)
class Audience:
    """Who hears a population; cores that hear the same of it are counted together.

    Attributes:
        heard: bool `[k, C, H, W]`: which neurons they hear.
        cores: int64 `[k]`: how many cores do.
    """

    heard: Mask
    cores: Int64

    @classmethod
    def of(cls, heard: Mask) -> "Audience":
        """From what each block hears, bool `[a, b, d, C, H, W]`."""
        blocks = heard.reshape(-1, *heard.shape[3:])
        first: dict[bytes, int] = {}
        same = [first.setdefault(np.packbits(block).tobytes(), index) for index, block in enumerate(blocks)]
        kinds = list(first.values())
        return cls(blocks[kinds], np.bincount(same)[kinds])

    def axons_out(self, cut: Cut) -> Int64:
        """Positions of each block, whatever the channel, once per core that hears them: int64 `[a, b, d]`."""
        heard = np.logical_or.reduceat(self.heard, cut.channels[:-1], axis=1)
        positions = np.einsum("k,kayx->ayx", self.cores, heard, dtype=np.int64)
        return np.asarray(
            np.add.reduceat(np.add.reduceat(positions, cut.rows[:-1], axis=1), cut.columns[:-1], axis=2), np.int64
        )


@dataclass(frozen=True)
class Placed:
    """A population, cut.

    Attributes:
        population: what was cut.
        cut: where.
        demand: of its blocks.
        synapses: of each of its projections.
    """

    population: Population
    cut: Cut
    demand: Demand
    synapses: tuple[FanOut, ...]


def partition(found: tuple[Population, ...], limits: Limits, source: str) -> tuple[Placed, ...]:
    """Every population, cut, in the order given: senders before what reads them, but for cycles.

    Raises:
        RefusedInput: one neuron is too much for a core, or something waits longer than a synapse can.
    """
    shapes = {population.name: population.shape for population in found}
    audiences: dict[str, list[Audience]] = {population.name: [] for population in found}
    placed: list[Placed] = []
    for population in reversed(found):
        where = f"{source}: node {population.name!r}"
        if population.delay > limits.delay:
            raise RefusedInput(
                f"{where} sums what has waited {population.delay} steps; a synapse waits {limits.delay} at most"
            )
        audience = tuple(audiences[population.name])
        placed.append(_cut(population, audience, limits, where))
        for sender, heard in heard_by(population, placed[-1].synapses, shapes).items():
            audiences[sender].append(Audience.of(heard))
    return _settled(tuple(reversed(placed)), limits, source)


def _settled(placed: tuple[Placed, ...], limits: Limits, source: str) -> tuple[Placed, ...]:
    """The same with all that hear a population; what then doesn't fit is cut into more blocks, until all do."""
    shapes = {entry.population.name: entry.population.shape for entry in placed}
    while True:
        audiences: dict[str, list[Audience]] = {name: [] for name in shapes}
        for entry in reversed(placed):
            for sender, heard in heard_by(entry.population, entry.synapses, shapes).items():
                audiences[sender].append(Audience.of(heard))
        whole = []
        for entry in placed:
            population, audience = entry.population, tuple(audiences[entry.population.name])
            demand = _demand(population, entry.cut, entry.synapses, audience, limits)
            if demand.exceeded(limits) is None:
                whole.append(replace(entry, demand=demand))
            else:
                where = f"{source}: node {population.name!r}"
                whole.append(_cut(population, audience, limits, where, entry.cut.blocks + 1))
        if all(new.cut == entry.cut for new, entry in zip(whole, placed, strict=True)):
            return tuple(whole)
        placed = tuple(whole)


def _cut(population: Population, audience: tuple[Audience, ...], limits: Limits, where: str, least: int = 1) -> Placed:
    """The population in `least` blocks or more, the best ones."""
    channels, _, width = population.shape
    cuts = _of_row(population, audience, limits) if channels == width == 1 else _of_map(population, audience, limits)
    placed = next((placed for placed in cuts if placed.cut.blocks >= least), None)
    if placed is None:
        finest = _placed(population, _halved(population.shape, *population.shape[:2], 1), audience, limits)
        what, much, limit = finest.demand.exceeded(limits) or ("", 0, 0)
        raise RefusedInput(f"{where}: one neuron takes {much} {what}; a core has {limit}")
    return placed


def heard_by(population: Population, synapses: tuple[FanOut, ...], shapes: Mapping[str, Map]) -> dict[str, Mask]:
    """Which neurons each block of `population` hears of each sender that has a shape: bool `[a, b, d, *shape]`."""
    heard: dict[str, Mask] = {}
    for projection, fan in zip(population.projections, synapses, strict=True):
        for sender in projection.senders:
            shape = shapes.get(sender)
            if shape is not None:
                reached = fan.reached(shape)
                heard[sender] = heard[sender] | reached if sender in heard else reached
    return heard


def _of_row(population: Population, audience: tuple[Audience, ...], limits: Limits) -> Iterator[Placed]:
    """Cuts of a row of neurons that fit, the fewest blocks first."""
    neurons, size = population.neurons, limits.neurons
    while size:
        cut = Cut((0, 1), (*range(0, neurons, size), neurons), (0, 1))
        placed = _placed(population, cut, audience, limits)
        exceeded = placed.demand.exceeded(limits)
        if exceeded is None:
            yield placed
            size //= 2
        else:
            _, found, limit = exceeded
            size //= max(2, -(-found // limit))


def _of_map(population: Population, audience: tuple[Audience, ...], limits: Limits) -> Iterator[Placed]:
    """Cuts of a map that fit, the fewest blocks first, and of those the least memory."""
    halvings, rows, columns = ([2**n for n in range((size - 1).bit_length() + 1)] for size in population.shape)
    every = [_halved(population.shape, c, r, w) for c, r, w in product(halvings, rows, columns)]
    by_blocks = sorted((cut for cut in every if cut.slots <= limits.neurons), key=lambda cut: cut.blocks)
    for _, equal in groupby(by_blocks, key=lambda cut: cut.blocks):
        found = [_placed(population, cut, audience, limits) for cut in equal]
        fitting = [placed for placed in found if placed.demand.exceeded(limits) is None]
        yield from sorted(fitting, key=lambda placed: int(placed.demand.memory.sum()))


def _halved(shape: Map, channels: int, rows: int, columns: int) -> Cut:
    """Into `channels` × `rows` blocks whose sizes differ by one at most, per axis, of `columns` columns each."""
    channels, rows = min(channels, shape[0]), min(rows, shape[1])
    return Cut(
        tuple(shape[0] * i // channels for i in range(channels + 1)),
        tuple(shape[1] * i // rows for i in range(rows + 1)),
        (*range(0, shape[2], columns), shape[2]),
    )


def _placed(population: Population, cut: Cut, audience: tuple[Audience, ...], limits: Limits) -> Placed:
    synapses = tuple(fan_out(projection, population, cut) for projection in population.projections)
    return Placed(population, cut, _demand(population, cut, synapses, audience, limits), synapses)


def _demand(
    population: Population, cut: Cut, synapses: tuple[FanOut, ...], audience: tuple[Audience, ...], limits: Limits
) -> Demand:
    neurons = cut.neurons
    nothing = np.zeros_like(neurons)
    senders = [len(projection.senders) for projection in population.projections]
    weights = sum((fan.weights(limits) for fan in synapses), nothing)
    axons_in = sum((n * fan.axons for n, fan in zip(senders, synapses, strict=True)), nothing)
    axons_out = sum((part.axons_out(cut) for part in audience), nothing)
    numbers = 1 + population.delay + population.currents + sum(fan.numbers for fan in synapses)
    registers = -(-sum(fan.registers for fan in synapses) // 8)
    each = limits.membrane_bytes + limits.bias_bytes + numbers * limits.accumulator_bytes + registers
    return Demand(
        slots=cut.slots,
        neurons=neurons,
        synapses=sum((n * fan.synapses for n, fan in zip(senders, synapses, strict=True)), nothing),
        weights=weights,
        state=neurons * each,
        axons_in=axons_in,
        axons_out=axons_out,
        memory=weights + neurons * each + (axons_in + axons_out) * limits.axon_bytes,
    )
