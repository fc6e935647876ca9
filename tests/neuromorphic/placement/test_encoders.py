"""The encoders at their full size: what docs/placement.md says of them, and that every limit is kept."""

import pytest

import export
from neuromorphic.placement import place
from neuromorphic.reading.build import from_nir
from tests.export.encoders import checkpoint

CORES = {
    ("paper", "duplicate"): 1018,
    ("paper", "relay"): 730,
    ("spike-driven", "duplicate"): 894,
    ("spike-driven", "relay"): 606,
}


@pytest.fixture(scope="module", params=["paper", "spike-driven"])
def encoder(request, make_encoder):
    model = make_encoder(0, architecture=request.param, width=384, depth=4, image_size=32)
    return request.param, from_nir(export.prepare(checkpoint(model, 384)).graph, "encoder.nir")


@pytest.mark.slow
@pytest.mark.parametrize("residual", ["duplicate", "relay"])
def test_the_full_size_fits_the_limits(encoder, residual):
    architecture, graph = encoder
    placement = place(graph, residual=residual)
    limits = placement.limits
    assert len(placement.cores) == CORES[architecture, residual]
    for core in placement.cores:
        assert core.neurons <= limits.neurons
        assert core.weights <= limits.synaptic_memory
        assert core.memory <= limits.memory
        assert core.axons_in <= limits.axons_in
        assert core.axons_out <= limits.axons_out
    placed = {entry.population.name: entry.population.neurons for entry in placement.placed}
    for node in graph.populations:
        held = sum(core.neurons for core in placement.cores if core.population == node.name)
        assert held == placed[node.name]
