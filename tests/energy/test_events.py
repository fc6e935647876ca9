"""Inputs that spike, pools of spikes and currents of spikes: worked by hand, and one by one in plain Python."""

from dataclasses import replace

import nir
import numpy as np
import pytest

import energy
from energy.inputs import check_kind, with_input_kind
from energy.traffic import snn_accesses
from neuromorphic.errors import RefusedInput
from neuromorphic.execution.reference import run
from neuromorphic.reading.build import from_nir
from tests.neuromorphic.graphs import chain, conv, lif, max_pool

SHAPE = (2, 3, 5)
KERNEL = np.ones((3, 2, 3, 3))


def count(nodes, frames, out_shape, kind=None, steps=None):
    graph = from_nir(chain(nodes, frames.shape[2:], out_shape, time_steps=steps or frames.shape[1]))
    graph = with_input_kind(graph, kind)
    return energy.count(graph, run(graph, frames), frames=frames)


def fan_out(y, x, shape, kernel, padding, outputs):
    """Of one position, tap by tap: the stride is 1."""
    return outputs * sum(
        0 <= y + padding - m < shape[1] + 2 * padding - kernel + 1
        and 0 <= x + padding - n < shape[2] + 2 * padding - kernel + 1
        for m in range(kernel)
        for n in range(kernel)
    )


def spikes(rng, steps=4, shape=SHAPE, images=2, most=1):
    return rng.integers(0, most + 1, (images, steps, *shape)).astype(np.float32) * (
        rng.random((images, steps, *shape)) < 0.4
    )


def test_input_spikes_are_additions_at_the_synapses_that_exist():
    frames = spikes(np.random.default_rng(0)).astype(np.float32)
    nodes = {"conv": conv(KERNEL, padding=1, hw=SHAPE[1:]), "lif": lif((3, 3, 5))}
    expected = [sum(fan_out(y, x, SHAPE, 3, 1, 3) for _, _, y, x in np.argwhere(image)) for image in frames]
    counts = count(nodes, frames, (3, 3, 5), "spikes")
    layer = counts.layers["conv"]
    assert counts.per_image.tolist() == expected
    assert (counts.macs, counts.macs_dense, layer.real_sources) == (0, 0, ())
    (source,) = layer.spiking_sources
    assert (source.source, source.spikes, source.updates) == ("input", int(frames.sum()), 2 * 4 * 30)
    assert source.rate == frames.mean()
    # Dense: each of 30 elements in every step; a corner of the map has 4 taps, an edge 6, the middle 9.
    assert layer.dense == 2 * 4 * 2 * 3 * (4 * 4 + 8 * 6 + 3 * 9)
    assert layer.dense_padded == 2 * 4 * 3 * 15 * 18
    real = count(nodes, frames, (3, 3, 5))
    assert (real.sops, real.macs, real.layers["conv"].real_sources) == (0, 2 * 4 * 3 * 15 * 18, ("input",))


def test_counts_are_as_many_additions():
    frames = spikes(np.random.default_rng(1), most=5).astype(np.float32)
    nodes = {"fc": nir.Linear(np.ones((7, 30), np.float32)), "lif": lif((7,))}
    flat = frames.reshape(2, 4, 30)
    counts = count(nodes, flat, (7,), "counts")
    assert flat.max() == 5
    assert counts.per_image.tolist() == (7 * flat.sum((1, 2))).tolist()
    assert counts.layers["fc"].spiking_sources[0].rate == flat.mean()


def test_neurons_that_read_input_spikes_have_a_synapse_each():
    frames = spikes(np.random.default_rng(2)).astype(np.float32)
    counts = count({"lif": lif(SHAPE, 3.0)}, frames, SHAPE, "spikes")
    assert (counts.layers["lif"].kind, counts.sops) == ("identity", int(frames.sum()))
    # Only where a spike arrives, or one has before without a spike of its own since, an update is needed.
    assert counts.neuron_updates_needed < counts.neuron_updates
    assert count({"lif": lif(SHAPE, 3.0)}, frames, SHAPE).neuron_updates_needed == counts.neuron_updates


def pool(kind, kernel, stride, padding=(0, 0)):
    return kind(np.array(kernel), np.array(stride), np.array(padding))


@pytest.mark.parametrize("kind", [nir.SumPool2d, nir.AvgPool2d])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [((3, 2), (1, 2), (0, 0)), ((2, 3), (1, 1), (1, 1))])
def test_events_go_through_a_pool_one_by_one(kind, kernel, stride, padding):
    frames = np.random.default_rng(3).normal(size=(2, 4, *SHAPE)).astype(np.float32) * 3
    size = [(n + 2 * p - k) // s + 1 for n, k, s, p in zip(SHAPE[1:], kernel, stride, padding, strict=True)]
    nodes = {
        "lif": lif(SHAPE, 0.5),
        "pool": pool(kind, kernel, stride, padding),
        "fc": conv(np.ones((4, 2, 1, 1)), hw=tuple(size)),
        "out": lif((4, *size)),
    }
    graph = from_nir(chain(nodes, SHAPE, (4, *size)))
    trace = run(graph, frames)
    counts = energy.count(graph, trace)
    pooled = 0
    for _, _, _, y, x in np.argwhere(trace.spikes["lif"].unpack()):
        for i in range(size[0]):
            for j in range(size[1]):
                top, left = i * stride[0] - padding[0], j * stride[1] - padding[1]
                pooled += top <= y < top + kernel[0] and left <= x < left + kernel[1]
    assert counts.layers["pool"].sops == pooled > 0
    assert (counts.layers["fc"].sops, counts.macs, counts.additions.pooling) == (4 * pooled, 0, 0)
    assert counts.layers["fc"].spiking_sources[0].spikes == pooled
    assert list(counts.layers) == ["pool", "fc"]  # neurons read currents behind synapses: no synapse of their own


def test_a_pool_of_real_values_is_real():
    frames = np.ones((1, 2, 1, 2, 4), np.float32)
    nodes = {
        "pool": pool(nir.SumPool2d, (2, 2), (2, 2)),
        "fc": conv(np.ones((3, 1, 1, 1)), hw=(1, 2)),
        "lif": lif((3, 1, 2)),
    }
    counts = count(nodes, frames, (3, 1, 2))
    assert (counts.sops, counts.layers["fc"].macs, counts.additions.pooling) == (0, 2 * 6, 2 * 8)
    driven = count(nodes, frames, (3, 1, 2), "spikes")
    assert (driven.layers["pool"].sops, driven.layers["fc"].sops, driven.macs, driven.additions.pooling) == (
        16,
        48,
        0,
        0,
    )


def test_a_maximum_of_spikes_is_a_spike():
    # Windows of 2 × 2 over 1 × 2 × 4; in one step only the left window holds spikes, two of them.
    frames = np.zeros((1, 1, 1, 2, 4), np.float32)
    frames[0, 0, 0, :, 1] = 1
    nodes = {
        "max": max_pool((1, 2, 4), (2, 2), (2, 2), (0, 0)),
        "fc": conv(np.ones((5, 1, 1, 1)), hw=(1, 2)),
        "lif": lif((5, 1, 2)),
    }
    counts = count(nodes, frames, (5, 1, 2), "spikes")
    assert (counts.sops, counts.macs, counts.comparisons) == (5, 0, 2 * 3)
    assert counts.layers["fc"].dense == 2 * 5


def test_a_second_linear_node_multiplies_where_something_arrived():
    # One spike in 6 inputs reaches both outputs of `a`; `b` has 3 products for each.  Of 4 steps 1 has a spike.
    frames = np.zeros((1, 4, 6), np.float32)
    frames[0, 1, 2] = 1
    matrix = {
        "a": nir.Linear(np.ones((2, 6), np.float32)),
        "b": nir.Linear(np.zeros((3, 2), np.float32)),
        "lif": lif((3,)),
    }
    counts = count(matrix, frames, (3,), "spikes")
    assert (counts.layers["a"].sops, counts.layers["b"].sops) == (2, 0)
    layer = counts.layers["b"]
    assert (layer.macs, layer.macs_once, layer.macs_summed, layer.macs_dense) == (6, 6, 6, 24)
    # A bias on the way is there in every step.
    biased = {**matrix, "a": nir.Affine(np.ones((2, 6), np.float32), np.ones(2, np.float32))}
    assert count(biased, frames, (3,), "spikes").layers["b"].macs == 24


def test_products_of_currents_are_priced_image_by_image():
    # Image 0 is silent, 1 has spikes in two steps, 2 in one; `b` has 2 inputs of 3 products each.
    frames = np.zeros((3, 4, 6), np.float32)
    frames[1, (0, 2, 2), (1, 4, 5)] = frames[2, 3, 0] = 1
    nodes = {
        "a": nir.Linear(np.ones((2, 6), np.float32)),
        "b": nir.Linear(np.ones((3, 2), np.float32)),
        "lif": lif((3,)),
    }
    graph = with_input_kind(from_nir(chain(nodes, (6,), (3,), time_steps=4)), "spikes")
    counts = energy.count(graph, run(graph, frames), frames=frames)
    assert counts.layers["b"].macs_per_image.tolist() == [0, 12, 6]
    report = energy.assemble(graph, counts, energy.read_devices(["45nm-fp32"]), energy.provenance(graph))
    found = report.devices["45nm-fp32"].accounts["papers"].energy
    each = [0.0, 6 * 0.9 + 12 * 4.6, 2 * 0.9 + 6 * 4.6]
    assert [found.minimum, found.maximum, found.mean] == pytest.approx([0, each[1], sum(each) / 3])
    # Each product reads a weight and a current, each SOP a weight.
    moved = {}
    for access in snn_accesses(graph, counts, "no_reuse"):
        if access.part in ("weights", "activations") and access.layer == "b":
            moved[access.part] = np.broadcast_to(access.moved, 3).tolist()
    assert moved == {"weights": [0, 12, 6], "activations": [0, 12, 6]}


def test_events_that_wait_between_pools_arrive_late_or_never():
    shape = (1, 2, 2)
    frames = np.zeros((1, 4, *shape), np.float32)
    frames[0, 0], frames[0, 3] = 1, 1
    nodes = {
        "wait": nir.Delay(np.full(shape, 1e-4, np.float32)),
        "pool": pool(nir.SumPool2d, (2, 2), (2, 2)),
        "later": nir.Delay(np.full((1, 1, 1), 1e-4, np.float32)),
        "fc": conv(np.ones((3, 1, 1, 1)), hw=(1, 1)),
        "lif": lif((3, 1, 1)),
    }
    counts = count(nodes, frames, (3, 1, 1), "spikes")
    (pooled,), (read,) = (counts.layers[name].spiking_sources for name in ("pool", "fc"))
    assert (pooled.per_step.tolist(), pooled.sops_under_way) == ([[0, 4, 0, 0]], 4)
    assert (read.source, read.spikes, read.per_step.tolist(), read.sops_under_way) == ("pool", 4, [[0, 0, 12, 0]], 0)
    assert (read.updates, read.dense) == (3 * 4, 2 * 12)  # of 4 steps the pool sends in 3, of which 2 arrive


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_batches_of_frames_are_the_whole(batch):
    frames = spikes(np.random.default_rng(5), images=5).astype(np.float32)
    nodes = {"conv": conv(KERNEL, padding=1, hw=SHAPE[1:]), "lif": lif((3, 3, 5))}
    graph = with_input_kind(from_nir(chain(nodes, SHAPE, (3, 3, 5))), "spikes")
    whole = energy.count(graph, run(graph, frames), frames=frames)
    assert energy.count_running(graph, frames, batch=batch).model_dump_json() == whole.model_dump_json()


def test_chunks_change_nothing(monkeypatch):
    frames = spikes(np.random.default_rng(6), images=5, most=300).astype(np.float32)
    nodes = {
        "pool": pool(nir.SumPool2d, (2, 2), (1, 1)),
        "fc": conv(np.ones((3, 2, 1, 1)), hw=(2, 4)),
        "lif": lif((3, 2, 4)),
    }
    whole = count(nodes, frames, (3, 2, 4), "counts").model_dump_json()
    monkeypatch.setattr(energy.events, "CHUNK", 1)
    assert count(nodes, frames, (3, 2, 4), "counts").model_dump_json() == whole


def test_a_stored_trace_needs_the_frames(tmp_path):
    frames = spikes(np.random.default_rng(7), images=5).astype(np.float32)
    nodes = {"conv": conv(KERNEL, padding=1, hw=SHAPE[1:]), "lif": lif((3, 3, 5))}
    graph = with_input_kind(from_nir(chain(nodes, SHAPE, (3, 3, 5))), "spikes")
    run(graph, frames).write(tmp_path / "run.h5")
    counts, _ = energy.count_stored(graph, tmp_path / "run.h5", 2, frames=frames)
    assert counts.model_dump_json() == energy.count_running(graph, frames).model_dump_json()
    with pytest.raises(RefusedInput, match="a trace doesn't hold; expected the frames with it"):
        energy.count_stored(graph, tmp_path / "run.h5")
    with pytest.raises(RefusedInput, match=r"frames have the shape \[0, 4, 2, 3, 5\]"):
        energy.count_stored(graph, tmp_path / "run.h5", 4, frames=frames[:4])
    with pytest.raises(RefusedInput, match="5 images; there are frames of 6"):
        energy.count_stored(graph, tmp_path / "run.h5", frames=np.concatenate([frames, frames[:1]]))


def test_memory_moves_events_as_addresses():
    frames = np.ones((1, 4, 1, 2, 2), np.float32)
    nodes = {
        "pool": pool(nir.SumPool2d, (2, 2), (2, 2)),
        "fc": conv(np.ones((3, 1, 1, 1)), hw=(1, 1)),
        "lif": lif((3, 1, 1), 99.0),
    }
    graph = with_input_kind(from_nir(chain(nodes, (1, 2, 2), (3, 1, 1))), "spikes")
    counts = energy.count(graph, run(graph, frames), frames=frames)
    report = energy.assemble(graph, counts, energy.read_devices(["45nm-int8"]), energy.provenance(graph))
    moved = report.devices["45nm-int8"].traffic.no_reuse
    # 16 events read by the pool, 16 written by it and read behind it, in 24 bits; no real value moves.
    assert (moved.spikes, moved.activations) == (3 * 16 * 3, 0)


def test_the_kind_of_a_file_holds(tmp_path):
    graph = from_nir(chain({"lif": lif((3,))}, (3,), (3,), input_kind="counts"))
    assert graph.metadata.input_kind == "counts"
    assert with_input_kind(graph, "counts") is graph
    with pytest.raises(RefusedInput, match="an input of spikes asked for; the file says counts"):
        with_input_kind(graph, "spikes")
    with pytest.raises(RefusedInput, match="metadata input_kind is 'events'"):
        from_nir(chain({"lif": lif((3,))}, (3,), (3,), input_kind="events"))
    theirs = chain({"lif": lif((3,))}, (3,), (3,))
    theirs.metadata = {"input_kind": "spikes"}
    assert from_nir(theirs).metadata.input_kind == "spikes"


@pytest.mark.parametrize(
    ("kind", "frames", "word"),
    [("spikes", [[0, 1, 2]], "image 0 hold 2; expected 0 and 1"),
     ("spikes", [[0, 1, 0], [0.5, 1, 0]], "image 1 hold 0.5"),
     ("counts", [[0, 3, -1]], "hold -1; expected whole"), ("counts", [[0.5, 0, 0]], "hold 0.5")],
)  # fmt: skip
def test_frames_of_another_kind_are_refused(kind, frames, word):
    graph = from_nir(chain({"lif": lif((3,))}, (3,), (3,), input_kind=kind))
    with pytest.raises(RefusedInput, match=word):
        energy.inputs.with_kind_of(graph, np.array(frames, np.float32), None)


def test_counting_checks_the_frames_too():
    graph = from_nir(chain({"lif": lif((3,))}, (3,), (3,), input_kind="spikes"))
    frames = np.full((1, 4, 3), 0.5, np.float32)
    with pytest.raises(RefusedInput, match=r"image 0 hold 0\.5"):
        energy.count(graph, run(graph, frames), frames=frames)


def test_what_is_not_said_is_pointed_out():
    graph = from_nir(chain({"lif": lif((3,))}, (3,), (3,)))
    binary = np.array([[0, 1, 0]], np.float32)
    real, said = energy.inputs.with_kind_of(graph, binary, None)
    assert (real.metadata.input_kind, len(said)) == (None, 1)
    assert "although all of its frames are 0 or 1" in said[0]
    spiking, said = energy.inputs.with_kind_of(graph, binary, "spikes")
    assert (spiking.metadata.input_kind, len(said)) == ("spikes", 1)
    assert energy.inputs.with_kind_of(graph, binary * 0.5, None) == (graph, [])
    assert energy.inputs.with_kind_of(with_input_kind(graph, "real"), binary, None)[1] == []


@pytest.mark.parametrize(
    ("kind", "value", "taken"),
    [
        *(("spikes", value, value in (0, 1)) for value in (0, 1, 2, -1, 0.5)),
        *(("counts", value, True) for value in (0, 1, 2**31)),
        *(("counts", value, False) for value in (-1, 0.5, 2**31 + 1)),
        *((None, value, True) for value in (-1, 0.5)),
    ],
)
def test_numbers_that_a_kind_of_input_has(kind, value, taken):
    graph = from_nir(chain({"lif": lif((2,))}, (2,), (2,)))
    graph = replace(graph, metadata=replace(graph.metadata, input_kind=kind))
    frames = np.array([[0, 1], [0, value]], np.float64)
    if taken:
        check_kind(graph, frames)
        return
    with pytest.raises(RefusedInput, match=rf"input are {kind}, and the frames of image 1 hold .*; expected"):
        check_kind(graph, frames)
