"""Bar of the project: torch, the reference and Lava agree on every spike of the shipped encoders, on real images."""

import os

import numpy as np
import pytest
import torch

import export
import neuromorphic
from export.integer import integer_model, record_integer
from neuromorphic.execution.reference import run_in_batches
from neuromorphic.lava.simulation import simulate
from neuromorphic.loihi2.quantise import quantise
from spikeclip.checkpoint import shipped
from spikeclip.data import load_images
from tests.export.encoders import prepare_shipped


def torch_trace(prepared, graph, frames):
    recorded = export.record(prepared, frames)
    spikes = {node.name: recorded.spikes[node.name] for node in graph.populations}
    return neuromorphic.Trace("torch", "float", spikes, recorded.outputs, graph.metadata.readout)


def assert_three_agree(name, spec, limit):
    prepared = prepare_shipped(name)
    graph = neuromorphic.from_nir(prepared.graph, name)
    assert all(graph.metadata.certificate["nodes"][node.name]["exact"] for node in graph.populations)
    images = load_images(spec, prepared.checkpoint.config.image_size, limit)
    frames = neuromorphic.encode(graph, images.images)
    torch_run = torch_trace(prepared, graph, frames)
    neurons = sum(node.neurons for node in torch_run.spikes.values())
    for trace in (run_in_batches(graph, frames), simulate(graph, frames)):
        report = neuromorphic.compare(trace, torch_run)
        assert report.spikes_compared == neurons * len(frames) * graph.metadata.time_steps
        assert report.exact, report.first_mismatch
        assert report.output_difference == 0
        np.testing.assert_array_equal(trace.predictions, torch_run.predictions)
    scores = prepared.model(torch.from_numpy(frames))
    np.testing.assert_array_equal(torch_run.predictions, scores.argmax(1))
    assert all(train.count() > 0 for train in torch_run.spikes.values()), "a population that never fires proves nothing"


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped())
def test_every_spike_and_membrane_agrees_in_integers(name):
    prepared = prepare_shipped(name)
    graph = neuromorphic.from_nir(prepared.graph, name)
    images = load_images("samples", prepared.checkpoint.config.image_size).images
    whole, _ = quantise(graph, neuromorphic.encode(graph, images))
    frames = neuromorphic.encode(whole, images[:4])
    numbers = {node.name: {**vars(node.operation), "sources": node.sources} for node in whole.nodes.values()}
    recorded = record_integer(integer_model(prepared, numbers), frames)
    spikes = {node.name: recorded.spikes[node.name] for node in whole.populations}
    readout = whole.metadata.readout
    torch_run = neuromorphic.Trace("torch", "loihi2", spikes, recorded.outputs, readout, recorded.membranes)
    for trace in (run_in_batches(whole, frames), simulate(whole, frames, precision="loihi2")):
        report = neuromorphic.compare(trace, torch_run)
        assert report.exact, report.first_mismatch
        assert report.membranes_compared == len(frames) * sum(train.neurons for train in spikes.values())
        assert report.output_difference == 0
    assert all(train.count() > 0 for train in spikes.values()), "a population that never fires proves nothing"


# The first two show it on every run; the others are the same architectures, of other sizes.
ALWAYS = ("spike-driven-small", "paper-small")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in ALWAYS else pytest.mark.slow) for name in shipped()]
)
def test_every_spike_agrees_on_samples(name):
    assert_three_agree(name, "samples", 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped())
def test_every_spike_agrees_on_256_test_images(name):
    folder = os.environ.get("SPIKECLIP_CIFAR10")
    assert_three_agree(name, f"cifar10:{folder}:test" if folder else "samples", 256)
