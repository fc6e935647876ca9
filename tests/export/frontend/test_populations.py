"""Neurons as nodes of NIR: every case of the one equation, stepped by the reference and by the equation itself."""

from itertools import pairwise
from types import SimpleNamespace

import nir
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from export.frontend.lowering import Lowering
from export.frontend.neurons.equations import Neurons, Recurrence, Reset
from export.frontend.nodes import Population
from export.frontend.populations import add_population, unit
from neuromorphic.execution.reference import run
from neuromorphic.reading.build import from_nir
from spikeclip.errors import RefusedInput
from tests.drawn import drawn
from tests.neuromorphic.graphs import metadata

T, SIZE = 6, 3


def added(neurons: Neurons, factor: float = 1.0, leak: "torch.Tensor | None" = None) -> nir.NIRGraph:
    """The graph of one population behind its input."""
    lowering = Lowering(SimpleNamespace(), [], {})
    add_population(lowering, "n", Population(neurons, ("n",), factor, leak), (SIZE,), ("input",), absorbed=False)
    nodes = {"input": nir.Input(np.array([SIZE])), **lowering.nodes, "output": nir.Output(np.array([SIZE]))}
    return nir.NIRGraph(nodes, [*lowering.edges, ("n", "output")], metadata=metadata(T), type_check=False)


def stepped(neurons: Neurons, x: np.ndarray, factor: float) -> np.ndarray:
    """The equation, word for word, in float64: `x` `[T, n]`, and what a spike feeds back."""
    v, current, s, spikes = np.full(SIZE, neurons.rest), np.zeros(SIZE), np.zeros(SIZE), []
    for given_ in x * factor:
        if neurons.recurrence is not None:
            weight = neurons.recurrence.weight.numpy()
            given_ = given_ + (weight @ s if weight.ndim else weight * s)
            given_ = given_ + (0 if neurons.recurrence.bias is None else neurons.recurrence.bias.numpy())
        current = given_ if neurons.synapse is None else neurons.synapse * current + given_
        late = neurons.threshold * s if neurons.reset is Reset.SOFT_LATE else 0
        v = (1 - neurons.decay) * v + neurons.decay * neurons.rest + neurons.gain * current - late
        s = (v >= neurons.threshold if neurons.at_threshold else v > neurons.threshold).astype(float)
        spikes.append(s)
        v = np.where(s > 0, neurons.rest, v) if neurons.reset is Reset.HARD else v
        v = v - neurons.threshold * s if neurons.reset is Reset.SOFT else v
    return np.stack(spikes)


recurrences = st.sampled_from(
    [
        None,
        Recurrence(torch.tensor(0.5, dtype=torch.float64)),
        Recurrence(torch.tensor([[0, 1, -0.5], [0.25, 0, 0], [0, -1, 0.5]], dtype=torch.float64)),
        Recurrence(torch.eye(3, dtype=torch.float64) / 2, torch.tensor([0.25, 0, -0.25], dtype=torch.float64)),
    ]
)


@drawn(60)
@given(
    decay=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    gain=st.sampled_from([0.25, 0.5, 1.0]),
    synapse=st.sampled_from([None, None, 0.5, 0.75]),
    reset=st.sampled_from(list(Reset)),
    rest=st.sampled_from([0.0, -0.5]),
    at_threshold=st.booleans(),
    recurrence=recurrences,
    factor=st.sampled_from([1.0, 0.5, 4.0]),
    x=st.lists(st.lists(st.integers(-4, 12), min_size=SIZE, max_size=SIZE), min_size=T, max_size=T),
)
def test_a_population_fires_as_the_equation(decay, gain, synapse, reset, rest, at_threshold, recurrence, factor, x):
    """All numbers are dyadic, so that float32 rounds nothing."""
    synapse = None if decay == 0 else synapse  # NIR's IF has no synaptic current
    recurrence = None if recurrence is not None and recurrence.bias is not None and synapse else recurrence
    rest = rest if reset is Reset.HARD and decay else 0.0
    neurons = Neurons(decay, gain, 1.0, reset, rest, at_threshold, synapse=synapse, recurrence=recurrence)
    frames = np.array(x, np.float32)[None] / 4
    trace = run(from_nir(added(neurons, factor)), frames)
    np.testing.assert_array_equal(trace.spikes["n"].unpack()[0], stepped(neurons, frames[0].astype(float), factor))


@pytest.mark.parametrize(
    ("neurons", "factor", "expected"),
    [
        (Neurons(0.0, 0.5, 1.0), 4.0, (2.0, 1.0)),
        (Neurons(0.5, 1.0, 1.0), 4.0, (4.0, 2.0)),  # R = g / d is a power of two
        (Neurons(0.25, 0.75, 1.0), 4.0, (12.0, 1.0)),  # and here 3, which goes into the unit
        (Neurons(0.5, 1.0, 1.0, synapse=0.75), 4.0, (32.0, 1.0)),  # f g / (d d')
    ],
)
def test_units_of_membranes(neurons, factor, expected):
    assert unit(neurons, factor) == expected


def test_edges_of_a_composed_neuron():
    """What a spike takes away arrives one step later; a spike back to its own population does, too."""
    recurrence = Recurrence(torch.tensor(0.5, dtype=torch.float64))
    graph = added(Neurons(0.5, 0.5, 1.0, Reset.SOFT_LATE, synapse=0.5, recurrence=recurrence))
    assert {*pairwise(["input", "n.synapse", "n.membrane", "n", "n.back", "n.reset", "n.membrane"])} <= {*graph.edges}
    assert {*pairwise(["n", "n.before", "n.recurrent", "n.synapse"])} <= {*graph.edges}
    assert ("n", "n.recurrent") in added(Neurons(0.5, 0.5, 1.0, recurrence=recurrence)).edges, "hard: no delay"


@pytest.mark.parametrize("threshold", [np.inf, np.nan, 1e-60, 0.0, -1.0])
def test_a_threshold_that_is_no_float_above_0_is_refused(threshold):
    with pytest.raises(RefusedInput, match=r"has the threshold .*; expected a float32 above 0"):
        added(Neurons(0.5, 0.5, threshold))


def test_a_constant_without_a_leak_and_a_matrix_of_another_size_are_refused():
    with pytest.raises(RefusedInput, match="integrates a constant"):
        added(Neurons(0.0, 1.0, 1.0), leak=torch.ones(SIZE))
    for shape in ((2, 2), (3, 2)):
        with pytest.raises(RefusedInput, match=r"feeds back a matrix .*; expected a vector"):
            added(Neurons(0.5, 0.5, 1.0, recurrence=Recurrence(torch.ones(shape, dtype=torch.float64))))


def test_a_constant_is_what_neurons_leak_to():
    """`v += (x + c - v) / 2` with c = 3, 0.5 and 2: v goes to c, and fires from 1 on."""
    graph = added(Neurons(0.5, 0.5, 1.0), leak=torch.tensor([3.0, 0.5, 2.0]))
    spikes = run(from_nir(graph), np.zeros((1, SIZE), np.float32)).spikes["n"].unpack()[0]
    assert spikes.astype(int).tolist() == [[1, 0, 1]] * T


@pytest.mark.parametrize("factor", [3.0, 0.3])
def test_a_factor_that_rounds_is_an_obstacle_of_a_proof(factor):
    lowering = Lowering(SimpleNamespace(), [], {})
    for name, node in (("a", factor), ("b", 2.0)):
        add_population(
            lowering, name, Population(Neurons(0.5, 0.5, 1.0), (name,), node), (1,), ("input",), absorbed=False
        )
    assert [*lowering.obstacles] == ["a"]
    assert "the module multiplies by" in lowering.obstacles["a"]
    assert lowering.units == {"a": (factor, factor), "b": (2.0, 2.0)}
