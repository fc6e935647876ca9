"""Cuts every population into blocks that each fit into a core; readers are cut before the populations that they read.

On a cycle there is no such order.  A population with a reader that was cut after it may then no longer fit, and is cut
into more blocks, until all fit.

A core holds a block of one population, all synapses that end in it, and the axons to and from it.  Blocks are those
that Intel's compiler makes (its logs are in docs/placement.md):

    maps      a power of two of columns; all rows and channels, or 1/2, 1/4, ... of them; the fewest blocks that fit,
    and
              of equally many those that take the least memory in all, since they duplicate the fewest weights and axons
    others    n neurons in a row, and the rest in the last block; n starts at the capacity of a core and is divided by
    k,
              rounded up, as long as a block takes k times the capacity of a core
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
    """Resources that each block of a population needs; arrays are int64 `[a, b, d]`, memory is in bytes.

    Attributes:
        slots: neurons of the largest block, counted with the columns that it leaves empty.
        neurons: in the block.
        synapses: connections that end in it.
        weights: memory of their weights; positions that share a weight store it once.
        state: memory of membranes, accumulators, biases and registers.
        axons_in: positions from which it receives spikes, per sender.
        axons_out: positions from which it sends spikes, once per core that receives them.
        memory: in all.
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
    """The cores that receive spikes of a population; those that receive from the same neurons are counted together.

    Attributes:
        heard: bool `[k, C, H, W]`: the neurons from which they receive spikes.
        cores: int64 `[k]`: how many cores do.
    """

    heard: Mask
    cores: Int64

    @classmethod
    def of(cls, heard: Mask) -> "Audience":
        """The audience of blocks that receive from the neurons `heard`, bool `[a, b, d, C, H, W]`."""
        blocks = heard.reshape(-1, *heard.shape[3:])
        first: dict[bytes, int] = {}
        same = [first.setdefault(np.packbits(block).tobytes(), index) for index, block in enumerate(blocks)]
        kinds = list(first.values())
        return cls(blocks[kinds], np.bincount(same)[kinds])

    def axons_out(self, cut: Cut) -> Int64:
        """Positions of each block, whatever the channel, counted once per core that receives: int64 `[a, b, d]`."""
        heard = np.logical_or.reduceat(self.heard, cut.channels[:-1], axis=1)
        positions = np.einsum("k,kayx->ayx", self.cores, heard, dtype=np.int64)
        return np.asarray(
            np.add.reduceat(np.add.reduceat(positions, cut.rows[:-1], axis=1), cut.columns[:-1], axis=2), np.int64
        )


@dataclass(frozen=True)
class Placed:
    """A population and its cut.

    Attributes:
        population: that is cut.
        cut: into blocks.
        demand: of the blocks.
        synapses: of each projection into it.
    """

    population: Population
    cut: Cut
    demand: Demand
    synapses: tuple[FanOut, ...]


def partition(found: tuple[Population, ...], limits: Limits, source: str) -> tuple[Placed, ...]:
    """Cuts every population, in the given order: senders before their readers, but for cycles.

    Raises:
        RefusedInput: one neuron is too much for a core, or a delay is longer than a synapse's.
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
    """The same, with the demand that follows from all readers; populations that don't fit are cut into more blocks."""
    shapes = {entry.population.name: entry.population.shape for entry in placed}
    while True:
        audiences: dict[str, list[Audience]] = {name: [] for name in shapes}
        for entry in reversed(placed):
            for sender, heard in heard_by(entry.population, entry.synapses, shapes).items():
                audiences[sender].append(Audience.of(heard))
        fitting = []
        for entry in placed:
            population, audience = entry.population, tuple(audiences[entry.population.name])
            demand = _demand(population, entry.cut, entry.synapses, audience, limits)
            if demand.exceeded(limits) is None:
                fitting.append(replace(entry, demand=demand))
            else:
                where = f"{source}: node {population.name!r}"
                fitting.append(_cut(population, audience, limits, where, entry.cut.blocks + 1))
        if all(new.cut == entry.cut for new, entry in zip(fitting, placed, strict=True)):
            return tuple(fitting)
        placed = tuple(fitting)


def _cut(population: Population, audience: tuple[Audience, ...], limits: Limits, where: str, least: int = 1) -> Placed:
    """The population in the best cut into at least `least` blocks."""
    channels, _, width = population.shape
    cuts = _of_row(population, audience, limits) if channels == width == 1 else _of_map(population, audience, limits)
    placed = next((placed for placed in cuts if placed.cut.blocks >= least), None)
    if placed is None:
        finest = _placed(population, _halved(population.shape, *population.shape[:2], 1), audience, limits)
        what, much, limit = finest.demand.exceeded(limits) or ("", 0, 0)
        raise RefusedInput(f"{where}: one neuron takes {much} {what}; a core has {limit}")
    return placed


def heard_by(population: Population, synapses: tuple[FanOut, ...], shapes: Mapping[str, Map]) -> dict[str, Mask]:
    """By sender with a shape, the neurons from which each block receives spikes: bool `[a, b, d, *shape]`."""
    heard: dict[str, Mask] = {}
    for projection, fan in zip(population.projections, synapses, strict=True):
        for sender in projection.senders:
            shape = shapes.get(sender)
            if shape is not None:
                reached = fan.reached(shape)
                heard[sender] = heard[sender] | reached if sender in heard else reached
    return heard


def _of_row(population: Population, audience: tuple[Audience, ...], limits: Limits) -> Iterator[Placed]:
    """The cuts of a row of neurons that fit, those into the fewest blocks first."""
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
    """The cuts of a map that fit, those into the fewest blocks first, and of these those with the least memory."""
    halvings, rows, columns = ([2**n for n in range((size - 1).bit_length() + 1)] for size in population.shape)
    every = [_halved(population.shape, c, r, w) for c, r, w in product(halvings, rows, columns)]
    by_blocks = sorted((cut for cut in every if cut.slots <= limits.neurons), key=lambda cut: cut.blocks)
    for _, equal in groupby(by_blocks, key=lambda cut: cut.blocks):
        found = [_placed(population, cut, audience, limits) for cut in equal]
        fitting = [placed for placed in found if placed.demand.exceeded(limits) is None]
        yield from sorted(fitting, key=lambda placed: int(placed.demand.memory.sum()))


def _halved(shape: Map, channels: int, rows: int, columns: int) -> Cut:
    """A cut into `channels` × `rows` blocks, equal but for 1 on each of these axes, of `columns` columns each."""
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
