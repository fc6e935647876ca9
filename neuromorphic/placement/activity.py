"""Activity of the cores: synaptic operations, spikes, and the messages that carry spikes to cores.

A spike to k cores, which may include its own, is k messages.  Populations send the spikes of a trace; an input of
spikes or counts sends those in its frames.  An input of real numbers, accumulators, and neurons without a threshold
send a graded spike per element in every time step, since it is not known here which of their values are 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from neuromorphic.errors import RefusedInput
from neuromorphic.ir.totals import Totals
from neuromorphic.ops import Int64
from neuromorphic.placement.limits import Limits
from neuromorphic.placement.partition import Placed, heard_by
from neuromorphic.placement.populations import Map


@dataclass(frozen=True)
class StepTime:
    """`step >= max(barrier, max_cores neurons · t_neuron, max_cores operations · t_synapse)`, in ns.

    The three overlap on the chip, so each alone is a lower bound of a step's duration, with the times of `Limits`.
    With operations averaged over steps it bounds the average step, since the maximum of averages is at most the average
    of maxima.  Traffic between cores, which can be slower than all three, is not included.

    Attributes:
        barrier: the shortest time step of a chip.
        neurons: time for the neurons of the core with the most neurons.
        synapses: time for the operations of the core with the most operations.
        busiest: index of that core.
    """

    barrier: float
    neurons: float
    synapses: float
    busiest: int

    @property
    def bound(self) -> float:
        """The largest of the three."""
        return max(self.barrier, self.neurons, self.synapses)

    @property
    def steps_per_second(self) -> float:
        """An upper bound of the time steps per second."""
        return 1e9 / self.bound


@dataclass(frozen=True)
class Activity:
    """Sums over all time steps; per core, in the order of the placement.

    Attributes:
        steps: time steps of all images together.
        operations: int64 `[cores]`: synaptic operations, each a spike that arrives at a synapse.
        sent: int64 `[cores]`: spikes of the core's neurons.
        messages: int64 `[cores]`: these spikes, counted once per core that receives them.
        from_host: messages from the graph's inputs, a spike or a number each.
    """

    steps: int
    operations: Int64
    sent: Int64
    messages: Int64
    from_host: int

    def step_time(self, neurons: Int64, limits: Limits) -> StepTime:
        """The bound of a step's duration, for cores with these numbers of neurons, int64 `[cores]`."""
        busiest = int(self.operations.argmax())
        return StepTime(
            barrier=limits.step_ns,
            neurons=int(neurons.max()) * limits.neuron_ns,
            synapses=int(self.operations[busiest]) / self.steps * limits.synapse_ns,
            busiest=busiest,
        )


def full_rate(placed: tuple[Placed, ...], inputs: Mapping[str, Map]) -> Activity:
    """One time step in which every neuron fires."""
    return _activity(placed, {}, inputs, 1)


def measured(
    placed: tuple[Placed, ...],
    inputs: Mapping[str, Map],
    totals: Totals,
    arrived: Mapping[str, Int64] | None = None,
) -> Activity:
    """The activity of a run of the graph.

    Args:
        placed: populations and their cuts.
        inputs: shapes of the graph's inputs, by name.
        totals: of the run, with the spikes of each neuron.
        arrived: spikes of each element of the inputs over all images and steps, by name, where they are known.

    Raises:
        RefusedInput: the run lacks a population or has it in another shape.
    """
    events = dict(arrived or {})
    for entry in placed:
        population = entry.population
        if population.kind != "population":
            continue
        count = totals.counts.get(population.name)
        if count is None or count.neurons != population.neurons:
            found = "no such population" if count is None else f"{count.neurons} neurons"
            raise RefusedInput(f"trace: {found} for node {population.name!r}; expected {population.neurons} neurons")
        if count.per_neuron is None:
            raise ValueError("totals without the spikes of each neuron")
        events[population.name] = count.per_neuron
    return _activity(placed, events, inputs, totals.answers.images * totals.answers.time_steps)


def _activity(
    placed: tuple[Placed, ...], events: Mapping[str, Int64], inputs: Mapping[str, Map], steps: int
) -> Activity:
    """The activity, given the spikes per neuron over all steps by sender; other senders send in every step."""
    shapes = {**inputs, **{entry.population.name: entry.population.shape for entry in placed}}
    listeners: dict[str, Int64] = {}
    operations = []
    for entry in placed:
        blocks = np.zeros_like(entry.demand.neurons)
        for projection, fan in zip(entry.population.projections, entry.synapses, strict=True):
            for sender in projection.senders:
                every_step = np.full(prod(shapes[sender]), steps, np.int64)
                blocks += fan.operations(events.get(sender, every_step))
        operations.append(blocks.reshape(-1))
        for sender, heard in heard_by(entry.population, entry.synapses, shapes).items():
            cores = heard.sum((0, 1, 2), dtype=np.int64)
            listeners[sender] = listeners[sender] + cores if sender in listeners else cores
    sent, messages = [], []
    for entry in placed:
        name, shape = entry.population.name, entry.population.shape
        spikes = events.get(name, np.full(entry.population.neurons, steps, np.int64)).reshape(shape)
        sent.append(_per_block(spikes, entry))
        messages.append(_per_block(spikes * listeners.get(name, np.zeros(shape, np.int64)), entry))
    host = 0
    for sender in listeners.keys() & inputs.keys():
        spikes = events.get(sender, np.full(prod(inputs[sender]), steps, np.int64))
        host += int((spikes.reshape(inputs[sender]) * listeners[sender]).sum())
    return Activity(steps, np.concatenate(operations), np.concatenate(sent), np.concatenate(messages), host)


def _per_block(values: Int64, entry: Placed) -> Int64:
    """Sums over each block of a population: int64 `[blocks]`."""
    for axis, edges in enumerate((entry.cut.channels, entry.cut.rows, entry.cut.columns)):
        values = np.add.reduceat(values, edges[:-1], axis=axis)
    return values.reshape(-1)
