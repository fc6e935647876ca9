"""The cut: every population into as few equal blocks as fit a core each, readers before what they read.

Around a cycle that order doesn't exist: what is heard by readers that were not cut yet is cut into more blocks once
they are, where it doesn't fit any more, until all do.

A core holds a block of one population, every synapse that ends in it and the axons to and from it.  Among cuts into
equally many blocks the one that takes the least memory in all wins: it duplicates the fewest weights and axons.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import RefusedInput
from neuromorphic.placement.limits import Limits
from neuromorphic.placement.populations import Map, Population
from neuromorphic.placement.synapses import Cut, FanOut, Integers, fan_out


@dataclass(frozen=True)
class Demand:
    """What the blocks of a population take of a core each; every attribute is int64 `[a, b]`, memory in bytes.

    Attributes:
        neurons: in the block.
        synapses: connections that end in it.
        weights: memory of their weights; positions that share a weight store it once.
        state: memory of membranes, accumulators, biases and registers.
        axons_in: positions that it hears, per sender.
        axons_out: positions that it sends from, once per core that hears them.
        memory: all of it, with the lists that the axons point at.
    """

    neurons: Integers
    synapses: Integers
    weights: Integers
    state: Integers
    axons_in: Integers
    axons_out: Integers
    memory: Integers

    def exceeded(self, limits: Limits) -> tuple[str, int, int] | None:
        """The first limit that the largest block exceeds: what, how much, the limit; None where every block fits."""
        for what, found, limit in (
            ("neurons", self.neurons, limits.neurons),
            ("bytes of weights", self.weights, limits.synaptic_memory),
            ("bytes of memory", self.memory, limits.memory),
            ("axons in", self.axons_in, limits.axons_in),
            ("axons out", self.axons_out, limits.axons_out),
        ):
            if found.max() > limit:
                return what, int(found.max()), limit
        return None


@dataclass(frozen=True)
class Audience:
    """Who hears a population; cores that hear the same of it are counted together.

    Attributes:
        columns: int64 `[k, C, H]`: of each channel's row, how many positions they hear.
        cores: int64 `[k]`: how many cores do.
    """

    columns: Integers
    cores: Integers

    @classmethod
    def of(cls, heard: NDArray[np.bool_]) -> "Audience":
        """From what each block hears, bool `[a, b, C, H, W]`."""
        columns = heard.reshape(-1, *heard.shape[2:]).sum(3, dtype=np.int64)
        first: dict[bytes, int] = {}
        same = [first.setdefault(block.tobytes(), index) for index, block in enumerate(columns)]
        return cls(columns[list(first.values())], np.bincount(same)[list(first.values())])

    def axons_out(self, cut: Cut) -> Integers:
        """Positions of each block, whatever the channel, once per core that hears them: int64 `[a, b]`."""
        positions = np.maximum.reduceat(self.columns, cut.channels[:-1], axis=1)
        return np.asarray(np.einsum("k,kab->ab", self.cores, np.add.reduceat(positions, cut.rows[:-1], axis=2)))


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
    """Every population, cut, in the order given.

    Args:
        found: senders before what reads them, but for cycles.
        limits: of a core.
        source: named in messages.

    Raises:
        RefusedInput: a row of one channel is too much for a core, or something waits longer than a synapse can.
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
    cut = _best(population, audience, limits, where, least)
    synapses = tuple(fan_out(projection, population, cut) for projection in population.projections)
    return Placed(population, cut, _demand(population, cut, synapses, audience, limits), synapses)


def heard_by(
    population: Population, synapses: tuple[FanOut, ...], shapes: Mapping[str, Map], frame: Map | None = None
) -> dict[str, NDArray[np.bool_]]:
    """Which neurons of each sender each block of `population` hears: bool `[a, b, *shape]`, by sender.

    Args:
        population: that hears.
        synapses: of its projections.
        shapes: of the senders that are populations.
        frame: shape of the graph's input; None leaves the input out.
    """
    heard: dict[str, NDArray[np.bool_]] = {}
    for projection, fan in zip(population.projections, synapses, strict=True):
        for sender in projection.senders:
            shape = shapes.get(sender, frame)
            if shape is not None:
                reached = fan.reached(shape)
                heard[sender] = heard[sender] | reached if sender in heard else reached
    return heard


def _best(population: Population, audience: tuple[Audience, ...], limits: Limits, where: str, least: int) -> Cut:
    """The cut into the fewest blocks that fit, `least` or more, and of those the one of the least memory."""
    channels, height, _ = population.shape
    found: list[tuple[int, int, Cut]] = []  # blocks, memory, cut
    for rows in sorted({-(-height // n) for n in range(1, height + 1)}):
        # No more channel blocks than tie with the best cut so far.
        most = min(channels, min(blocks for blocks, _, _ in found) // rows) if found else channels
        first = -(-least // rows)
        if first > most:
            continue
        low, high = first - 1, first  # the fewest channel blocks that fit are more than low and at most high
        while high < most and not _fits(population, Cut.even(population.shape, high, rows), audience, limits):
            low, high = high, min(2 * high, most)
        while low + 1 < high:
            middle = (low + high) // 2
            if _fits(population, Cut.even(population.shape, middle, rows), audience, limits):
                high = middle
            else:
                low = middle
        cut = Cut.even(population.shape, high, rows)
        demand = _evaluate(population, cut, audience, limits)
        if demand.exceeded(limits) is None:
            found.append((cut.blocks, int(demand.memory.sum()), cut))
    if not found:
        finest = _evaluate(population, Cut.even(population.shape, channels, height), audience, limits)
        what, much, limit = finest.exceeded(limits) or ("", 0, 0)
        raise RefusedInput(f"{where}: one row of one channel takes {much} {what}; a core has {limit}")
    return min(found, key=lambda entry: entry[:2])[2]


def _fits(population: Population, cut: Cut, audience: tuple[Audience, ...], limits: Limits) -> bool:
    return _evaluate(population, cut, audience, limits).exceeded(limits) is None


def _evaluate(population: Population, cut: Cut, audience: tuple[Audience, ...], limits: Limits) -> Demand:
    synapses = tuple(fan_out(projection, population, cut) for projection in population.projections)
    return _demand(population, cut, synapses, audience, limits)


def _demand(
    population: Population, cut: Cut, synapses: tuple[FanOut, ...], audience: tuple[Audience, ...], limits: Limits
) -> Demand:
    neurons = np.multiply.outer(np.diff(cut.channels), np.diff(cut.rows)) * population.shape[2]
    nothing = np.zeros_like(neurons)
    senders = [len(projection.senders) for projection in population.projections]
    weights = sum((-(-fan.weights * limits.weight_bits // 8) for fan in synapses), nothing)
    axons_in = sum((n * fan.axons for n, fan in zip(senders, synapses, strict=True)), nothing)
    lists = sum((fan.lists for fan in synapses), nothing)
    axons_out = sum((part.axons_out(cut) for part in audience), nothing)
    numbers = 1 + population.delay + population.currents + sum(fan.numbers for fan in synapses)
    registers = -(-sum(fan.registers for fan in synapses) // 8)
    each = limits.membrane_bytes + limits.bias_bytes + numbers * limits.accumulator_bytes + registers
    return Demand(
        neurons=neurons,
        synapses=sum((n * fan.synapses for n, fan in zip(senders, synapses, strict=True)), nothing),
        weights=weights,
        state=neurons * each,
        axons_in=axons_in,
        axons_out=axons_out,
        memory=weights + neurons * each + (axons_in + lists + axons_out) * limits.axon_bytes,
    )
