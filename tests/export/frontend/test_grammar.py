import numpy as np
import pytest
import torch
from torch import nn

from export.frontend.door import PreparedModule
from export.frontend.parity import compare_module
from neuromorphic.execution.reference import run
from neuromorphic.reading.build import from_nir
from tests.export.frontend.grammar import Drawn
from tests.export.frontend.parity import assert_same, lively, prepare, report_on


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
    np.testing.assert_array_equal(found.outputs, expected.outputs)
    assert compare_module(prepared, found, prepared.record(frames)).exact


@torch.no_grad()
def at_threshold(net: Drawn, frames: np.ndarray) -> Drawn:
    """A module whose numbers are multiples of 1/4, and some of whose first membranes meet their threshold exactly."""
    for part in net.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.eps, part.running_var[:] = 0.0, 1.0
        if isinstance(part, nn.Conv2d | nn.Linear):
            for parameter in part.parameters():
                parameter.copy_((24 * parameter).round() / 4)
    lif, currents = net.stem.lif, []
    hook = lif.register_forward_pre_hook(lambda _, args: currents.append(args[0][0]))
    net(torch.from_numpy(frames).transpose(0, 1) if net.timed else torch.from_numpy(frames))
    hook.remove()
    gain = 1 / lif.tau if getattr(lif, "decay_input", False) else 1.0
    lif.v_threshold = gain * float(currents[0][currents[0] > 0].median())
    return net


@pytest.mark.parametrize("seed", range(4))
def test_a_bias_that_is_moved_by_one_step_of_its_grid_is_found(seed):
    net = Drawn(seed).eval()
    steps = (net.steps,) if net.timed else ()
    frames = (np.random.default_rng(seed).random((4, *steps, 2, 8, 8)) < 0.3).astype(np.float32)
    at_threshold(net, frames)
    shape, axes = ((net.steps, 2, 2, 8, 8), "TBCHW") if net.timed else ((2, 2, 8, 8), "BCHW")
    prepared = prepare(net, *shape, time_steps=net.steps, axes=axes, input_kind="real")
    assert report_on(prepared, frames).exact
    conv, step = prepared.graph.nodes["stem.conv"], 2.0 ** -prepared.grids["stem.conv"].bias_bits
    kept, found = conv.bias.copy(), 0
    for channel in range(len(kept)):
        conv.bias[channel] -= step
        found += not report_on(prepared, frames).exact
        conv.bias[channel] = kept[channel]
    assert found
    assert report_on(prepared, frames).exact
