"""The exported graph, executed by the reference, equals the snapped torch model in every spike and every output."""

import numpy as np
import pytest
import torch

import export
from neuromorphic.execution.reference import run
from neuromorphic.reading.build import from_nir
from tests.export.encoders import Custom, checkpoint, conv, lif
from tests.export.parity import assert_equal, images


def test_normalisation_that_is_not_dyadic(make_encoder):
    natural = {"mean": (125.3, 123.0, 113.9), "std": (63.0, 62.1, 66.7)}
    prepared = export.prepare(checkpoint(make_encoder(1), 16, **natural))
    assert prepared.input_bits == 9
    assert prepared.certificate.exact
    assert_equal(prepared)


def test_membranes_exactly_at_the_threshold():
    """Every current is a multiple of 1/2, so that a good part of all membranes is exactly 1: there it fires."""
    encoder = Custom(
        lambda m, x: m.last(m.second(m.first(m.conv(x)))),
        conv=conv(3, 8, 1), first=lif(), second=conv(8, 8, 1), last=lif(),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    with torch.no_grad():
        encoder.conv.weight.copy_(torch.from_numpy(rng.integers(-1, 2, (8, 3, 1, 1))))
        encoder.second.weight.copy_(torch.from_numpy(rng.integers(-2, 3, (8, 8, 1, 1))))
    prepared = export.prepare(checkpoint(encoder, 8, mean=(0.0,) * 3, std=(128.0,) * 3))
    pixels = rng.choice(np.array([0, 64, 128, 192], np.uint8), (4, 8, 8, 3))
    frames = prepared.encode(pixels)
    graph = from_nir(prepared.graph)
    trace, recording = run(graph, frames), export.record(prepared, frames)
    for name, train in trace.spikes.items():
        np.testing.assert_array_equal(recording.spikes[name].bits, train.bits)
    late = from_nir(prepared.graph)
    for node in late.populations:
        node.operation.threshold.setflags(write=True)
        node.operation.threshold[...] = 1.0  # `v > 1` instead of `v >= 1`
    moved = run(late, frames)
    assert any(not np.array_equal(moved.spikes[n].bits, t.bits) for n, t in trace.spikes.items())


@pytest.mark.parametrize("architecture", ["spike-driven", "paper"])
def test_scores_are_those_of_the_checkpoint(make_encoder, architecture):
    """Snapping moves weights by so little here that few images see another spike; the others keep their scores."""
    given_model = checkpoint(make_encoder(5, depth=2, time_steps=3, architecture=architecture), 16)
    prepared = export.prepare(given_model)
    pixels = images(prepared, 13, 0)
    before = given_model.model(torch.from_numpy(given_model.preprocessing(pixels)))
    after = prepared.model(torch.from_numpy(prepared.encode(pixels))).float()
    same = torch.isclose(before, after, rtol=1e-4, atol=1e-4).all(1)
    assert same.sum() >= 12, (before - after).abs().amax(1)
    assert before.std(0).min() > 10 * (before - after)[same].abs().max(), "images that all score the same prove nothing"


def test_the_checkpoint_keeps_its_own_weights(make_encoder):
    given_model = checkpoint(make_encoder(0), 16)
    before = {name: t.clone() for name, t in given_model.model.state_dict().items()}
    export.prepare(given_model)
    for name, tensor in given_model.model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
