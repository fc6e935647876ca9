"""Losses against formulas written out here, the published ones among them, and the spike count against convolutions."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeclip.config import SpikeClipConfig
from spikeclip.encoder import Encoder
from spikeclip.losses import alignment_loss, divergence, dual_loss
from spikeclip.spike_budget import counted, next_multiplier, penalty


def fixed(*shape, seed=0, grad=False):
    made = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return made.requires_grad_(grad)


LABELS = torch.tensor([0, 3, 1, 1, 2])


def published_dual(embeddings, features, vectors, labels):
    """What the published code minimises: its cosines have no factor, and its divergence is a sum over the batch."""
    logits = F.normalize(embeddings, p=2, dim=-1) @ vectors.T
    target = F.softmax(F.normalize(features, p=2, dim=-1) @ vectors.T, dim=-1)
    return torch.nn.CrossEntropyLoss()(logits, labels) + F.kl_div(
        F.log_softmax(logits, dim=-1), target, reduction="sum"
    )


def test_the_dual_loss_is_the_published_one_in_value_and_gradient():
    ours, theirs = fixed(5, 8, grad=True), fixed(5, 8, grad=True)
    features, vectors = fixed(5, 8, seed=1), F.normalize(fixed(4, 8, seed=2), dim=1)
    cosines, target = (F.normalize(x, dim=1) @ vectors.T for x in (ours, features))
    loss = dual_loss(cosines, target, LABELS, weight=len(LABELS))
    expected = published_dual(theirs, features, vectors, LABELS)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    loss.backward()
    expected.backward()
    assert theirs.grad.abs().max() > 1e-3
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-10, atol=1e-12)


def test_weight_temperature_and_smoothing_by_sums():
    logits, target = fixed(5, 4), fixed(5, 4, seed=1)
    weight, tau, smoothing = 0.3, 2.5, 0.1
    total = 0.0
    for row, other, label in zip(logits.tolist(), target.tolist(), LABELS.tolist(), strict=True):
        q, p, sharp = (
            [math.exp(x / t) / sum(math.exp(y / t) for y in values) for x in values]
            for values, t in ((row, tau), (other, tau), (row, 1))
        )
        wanted = [smoothing / 4 + (1 - smoothing) * (c == label) for c in range(4)]
        total -= sum(w * math.log(s) for w, s in zip(wanted, sharp, strict=True)) / 5
        total += weight * tau**2 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)) / 5
    assert dual_loss(logits, target, LABELS, weight, tau, smoothing).item() == pytest.approx(total, rel=1e-12)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), tau=st.floats(0.1, 10), shift=st.floats(-50, 50))
def test_the_divergence_is_zero_for_equal_distributions_only(seed, tau, shift):
    a, b = fixed(3, 4, seed=seed), fixed(3, 4, seed=seed + 1)
    assert abs(divergence(a, a + shift, tau).item()) < 1e-9 * tau**2
    assert divergence(a, b, tau).item() > 1e-6


def test_the_alignment_loss_and_its_gradient():
    embeddings, features = fixed(5, 8, grad=True), fixed(5, 8, seed=1)
    loss = alignment_loss(embeddings, features)
    loss.backward()
    expected = torch.zeros_like(embeddings)
    total = 0.0
    with torch.no_grad():
        for i, (e, f) in enumerate(zip(embeddings, features, strict=True)):
            cosine = e @ f / (e.norm() * f.norm())
            total += (1 - cosine.item()) / 5
            expected[i] = -(f / (e.norm() * f.norm()) - cosine * e / e.norm() ** 2) / 5
    assert loss.item() == pytest.approx(total, rel=1e-12)
    torch.testing.assert_close(embeddings.grad, expected, rtol=1e-10, atol=1e-12)
    assert alignment_loss(3 * features, features).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("spikes", "multiplier", "expected"),
    [(0.1, 0.0, 0.0), (0.5, 0.0, 0.0), (0.75, 0.0, 0.75), (1.0, 0.0, 3.0), (0.1, 0.5, 0.0), (0.5, 0.5, 0.75)],
)
def test_the_penalty_squares_what_lies_above_the_budget_and_the_multiplier(spikes, multiplier, expected):
    assert penalty(torch.tensor(spikes), 0.5, 6.0, multiplier).item() == pytest.approx(expected)


def test_the_multiplier_grows_above_the_budget_shrinks_below_and_is_never_negative():
    assert next_multiplier(1.0, 0.5, 0.25) == pytest.approx(0.26)
    assert next_multiplier(0.25, 0.5, 0.25) == pytest.approx(0.245)
    assert next_multiplier(0.25, 0.5, 0.001) == 0.0


def test_the_budget_is_reached_whatever_the_loss_wants():
    for wish in (2.0, 20.0):  # the loss falls for as long as there are more spikes; a fixed weight would stop above 0.5
        spikes, multiplier = torch.tensor(1.0, requires_grad=True), 0.0
        for _ in range(1000):  # 611 are enough
            (gradient,) = torch.autograd.grad(-wish * spikes + penalty(spikes, 0.5, 1.0, multiplier), spikes)
            multiplier = next_multiplier(spikes.item(), 0.5, multiplier)
            spikes.data -= 0.01 * gradient
        assert spikes.item() == pytest.approx(0.5, rel=1e-3)
        assert multiplier == pytest.approx(wish * 0.5, rel=1e-2)


@pytest.mark.parametrize("architecture", ["spike-driven", "paper"])
@pytest.mark.parametrize("time_steps", [1, 4])
def test_spikes_per_synapse_are_the_operations_of_the_convolutions(architecture, time_steps):
    torch.manual_seed(0)
    config = SpikeClipConfig(architecture, 16, 1, 4, image_size=16)
    encoder = Encoder(config)
    operations = synapses = 0.0

    def count(module, inputs):
        nonlocal operations, synapses
        ones, pad = torch.ones_like(module.weight), module.kernel_size[0] - 1
        for sums, x in ((True, inputs[0]), (False, torch.ones_like(inputs[0][:1, :1]))):
            found = F.conv2d(x.flatten(0, 1), ones, padding=pad).sum().item()  # borders wide enough for every synapse
            operations, synapses = operations + found * sums, synapses + found * (not sums)

    with counted(encoder) as counter:
        for name, module in encoder.named_modules():
            if name.endswith(".conv") and name != "stem.layers.0.synapse.conv":
                module.register_forward_pre_hook(count)
        encoder(torch.randn(3, 3, 16, 16), time_steps)
        found = counter.per_synapse(4).item()
        assert found == pytest.approx(operations / 3 / synapses * 4 / time_steps, rel=1e-5)
        assert 0 < found < 4
        encoder(torch.zeros(3, 3, 16, 16), time_steps)
        assert counter.per_synapse(4).item() != pytest.approx(found)  # of the latest images only
    assert not encoder._forward_pre_hooks


def test_the_penalty_has_a_gradient_in_every_layer_that_makes_spikes():
    torch.manual_seed(0)
    encoder = Encoder(SpikeClipConfig(width=16, depth=1, image_size=16))
    with counted(encoder) as counter:
        encoder(torch.randn(3, 3, 16, 16))
        penalty(counter.per_synapse(4), 0.01, 1.0, 0.0).backward()
    for layer in encoder.stem.layers:
        assert layer.synapse.bn.bias.grad.abs().sum() > 0
