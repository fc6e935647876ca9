import pytest

from export.frontend.door import PreparedModule
from neuromorphic.execution.reference import run
from neuromorphic.reading.build import from_nir
from tests.export.frontend.grammar import Drawn
from tests.export.frontend.parity import assert_same, lively, prepare


def drawn(seed: int) -> PreparedModule:
    net = lively(Drawn(seed), seed)
    shape, axes = ((net.steps, 2, 2, 8, 8), "TBCHW") if net.timed else ((2, 2, 8, 8), "BCHW")
    kind = "spikes" if net.timed else "real"
    bounds = None if net.timed else (-2.0, 2.0)
    return prepare(net, *shape, time_steps=net.steps, axes=axes, input_kind=kind, bounds=bounds)


@pytest.mark.parametrize("seed", range(8))
def test_random_modules_spike_for_spike(seed):
    assert_same(drawn(seed), images=2, seed=seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 400))
def test_300_random_modules_spike_for_spike(seed):
    assert_same(drawn(seed), images=2, seed=seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(400, 430))
def test_30_random_modules_through_lava(seed):
    from neuromorphic.lava.simulation import simulate

    prepared = drawn(seed)
    graph = from_nir(prepared.graph)
    frames = prepared.inputs.random(2, prepared.time_steps, seed)
    expected = run(graph, frames)
    found = simulate(graph, frames, batch=2)
    for name, train in expected.spikes.items():
        assert (train.bits == found.spikes[name].bits).all(), name
