"""Graphs tangled at random: what is taken is what the oracle says, in the reference and in the pipeline of Lava."""

from collections import Counter

import numpy as np

from neuromorphic.analysis.schedule import schedule
from neuromorphic.errors import RefusedInput
from neuromorphic.execution.reference import run
from neuromorphic.reading.build import from_nir
from tests.neuromorphic import oracle
from tests.neuromorphic.compositions import tangle
from tests.neuromorphic.graphs import DT
from tests.properties import channels


def outcome(seed):
    """What became of one of them."""
    tangled, frames = tangle(seed)
    try:
        graph = from_nir(tangled, dt=DT)
    except RefusedInput as refusal:
        return "no meaning" if "a cycle through" in str(refusal) else str(refusal)
    spikes, output = oracle.run(tangled, frames)
    trace = run(graph, frames)
    for name, train in spikes.items():
        np.testing.assert_array_equal(trace.spikes[name].unpack(), train, err_msg=f"{seed}: {name}")
    np.testing.assert_array_equal(trace.outputs, output.astype(np.float32), err_msg=str(seed))
    try:
        schedule(graph)
    except RefusedInput as refusal:
        return "no schedule" if "expected a Delay" in str(refusal) else str(refusal)
    piped, piped_output = channels.run(graph, frames)
    for name, train in spikes.items():
        np.testing.assert_array_equal(piped[name], train, err_msg=f"{seed}: {name}")
    np.testing.assert_array_equal(piped_output.astype(np.float32), trace.outputs, err_msg=str(seed))
    return "recurrent" if graph.recurrent else "straight"


def test_tangled_graphs_are_what_the_oracle_says_or_refused():
    found = Counter(outcome(seed) for seed in range(250))
    assert set(found) == {"no meaning", "no schedule", "recurrent", "straight"}, found
    assert min(found.values()) > 4, found
