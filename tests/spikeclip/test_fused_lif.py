"""The fused neuron against SpikingJelly's own: the same bits forwards, the same gradient backwards."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spikingjelly.activation_based import functional, neuron, surrogate

from spikeclip.fused_lif import fused_neurons


def lif(**changes):
    usual = {"tau": 2.0, "v_threshold": 1.0, "v_reset": 0.0, "surrogate_function": surrogate.ATan(), "step_mode": "m"}
    return neuron.LIFNode(**{**usual, "detach_reset": True, **changes})


def run(node, x, weights):
    """Spikes, and the gradient of their weighted sum by the currents."""
    x = x.clone().requires_grad_()
    functional.reset_net(node)
    spikes = node(x)
    (weights * spikes).sum().backward()
    return spikes.detach(), x.grad


@settings(deadline=None)
@given(
    steps=st.integers(1, 6),
    tau=st.sampled_from([1.25, 2.0, 3.0, 8.0]),
    threshold=st.sampled_from([0.25, 0.5, 1.0, 1.3]),
    alpha=st.sampled_from([1.0, 2.0, 5.0]),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
    seed=st.integers(0, 2**32 - 1),
)
def test_spikes_are_the_same_bits_and_gradients_the_same_numbers(steps, tau, threshold, alpha, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    # Multiples of 1/8 hit thresholds exactly; the others don't.
    ties = torch.randint(-16, 32, (steps, 2, 3, 4, 4), generator=generator) / 8
    x = torch.cat([ties, torch.randn(steps, 2, 3, 4, 4, generator=generator) * 2], 2).to(dtype)
    weights = torch.randn(x.shape, generator=generator).to(dtype)
    node = lif(tau=tau, v_threshold=threshold, surrogate_function=surrogate.ATan(alpha))
    expected, its_gradient = run(node, x, weights)
    with fused_neurons(node):
        spikes, gradient = run(node, x, weights)
    assert torch.equal(spikes, expected)
    assert spikes.dtype == x.dtype
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 0.1}[dtype]
    torch.testing.assert_close(gradient, its_gradient, rtol=tolerance, atol=tolerance)


def test_every_parameter_of_an_encoder_gets_the_same_gradient(make_encoder):
    encoder = make_encoder(depth=2, time_steps=3).double().train().requires_grad_()
    images = torch.rand(4, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    gradients = []
    for fused in (False, True):
        model = copy.deepcopy(encoder)
        if fused:
            with fused_neurons(model):
                model(images).square().sum().backward()
        else:
            model(images).square().sum().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-9, atol=1e-12, msg=name)


@pytest.mark.parametrize(
    "changes",
    [{"v_reset": None}, {"detach_reset": False}, {"decay_input": False}, {"surrogate_function": surrogate.Sigmoid()}],
)
def test_other_neurons_are_left_alone(changes):
    node = lif(**changes)
    x = torch.randn(4, 2, 5, generator=torch.Generator().manual_seed(3)) * 2
    expected, its_gradient = run(node, x, torch.ones_like(x))
    with fused_neurons(node):
        spikes, gradient = run(node, x, torch.ones_like(x))
    assert torch.equal(spikes, expected)
    assert torch.equal(gradient, its_gradient)


def test_afterwards_the_neuron_is_spikingjellys_again():
    node = lif()
    with fused_neurons(node):
        assert "multi_step_forward" in vars(node)
    assert "multi_step_forward" not in vars(node)
