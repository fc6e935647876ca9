"""netx files to graphs in integers: spikes and membranes by an oracle apart, and Intel's own file."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuromorphic.errors import RefusedInput
from neuromorphic.execution.reference import run
from neuromorphic.loihi2.file import integer_graph
from neuromorphic.ops import Delay, LoihiLif
from neuromorphic.reading.netx.file import is_netx, read_layers
from neuromorphic.reading.netx.graph import from_layers
from neuromorphic.reading.provenance import Asked
from neuromorphic.reading.read import read_graph
from tests.neuromorphic.reading.netx.files import NEURON, conv, correlated, dense, population, write

DATA = Path(__file__).parents[3] / "data" / "netx"


@pytest.fixture
def draw():
    return np.random.default_rng(5)


def same(graph, frames, name, spikes, membranes):
    trace = run(graph, frames.astype(np.float32))
    assert np.array_equal(trace.spikes[name].unpack(), spikes)
    assert np.array_equal(trace.membranes[name], membranes[:, -1])


def even(draw, *shape):
    return 2 * draw.integers(-20, 21, shape)


def test_intels_own_file_sends_the_spikes_that_intel_publishes():
    graph, known = read_graph(DATA / "lava_dl_tiny.net"), np.load(DATA / "lava_dl_tiny.npz")
    steps = len(known["spikes"])
    frames = np.broadcast_to(known["frame"].astype(np.float32), (1, steps, 3, 16, 16))
    found = run(graph, frames).spikes["layer.2"].unpack()[0]
    assert found.sum() == known["spikes"].sum() > 80
    assert np.array_equal(found, known["spikes"])


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    current=st.sampled_from([1, 410, 2048, 4095, 4096]),
    membrane=st.sampled_from([0, 1, 1024, 4095]),
    threshold=st.integers(0, 400),
)
def test_dense_layers_compute_the_recurrence_in_integers(tmp_path_factory, seed, current, membrane, threshold):
    draw = np.random.default_rng(seed)
    neuron = {**NEURON, "iDecay": current, "vDecay": membrane, "vThMant": threshold}
    first, second, bias = even(draw, 6, 9), even(draw, 4, 6), draw.integers(-30, 31, 6)
    path = tmp_path_factory.mktemp("netx") / "n.net"
    graph = read_graph(write(path, dense(first, neuron, bias=bias.astype(np.float32)), dense(second, neuron)))
    x = draw.integers(0, 2, (2, 9, 9))
    spikes, membranes = population(x @ first.T, neuron, bias)
    same(graph, x, "layer.0", spikes, membranes)
    same(graph, x, "layer.1", *population(spikes.astype(np.int64) @ second.T, neuron))


@pytest.mark.parametrize("groups", [1, 2])
def test_convolutions_compute_the_recurrence_in_integers(tmp_path, draw, groups):
    settings = {"stride": [2, 1], "padding": [1, 0], "dilation": [1, 2], "groups": groups}
    kernel, bias = even(draw, 4, 2 // groups, 3, 2), draw.integers(-9, 10, 4)
    x = draw.integers(-20, 40, (2, 5, 2, 7, 8))
    currents = correlated(x, kernel, *settings.values())
    layer = conv(kernel, list(currents.shape[2:]), bias=bias.astype(np.float32), **settings)
    graph = read_graph(write(tmp_path / "n.net", {"type": "input", "shape": [2, 7, 8]}, layer))
    same(graph, x, "layer.1", *population(currents, NEURON, bias[:, None, None]))


def test_frames_reach_the_neurons_of_an_input_layer_behind_u(tmp_path, draw):
    neuron, weight = {**NEURON, "iDecay": 100}, even(draw, 3, 8)
    layer = {"type": "input", "shape": [2, 2, 2], "neuron": neuron, "weight": 36.0, "bias": [34.0]}
    graph = read_graph(write(tmp_path / "n.net", layer, {"type": "flatten", "shape": [8, 1, 1]}, dense(weight)))
    x = draw.integers(-9, 50, (1, 9, 2, 2, 2))
    spikes, membranes = population(x, {**neuron, "iDecay": 4096})
    same(graph, x, "layer.0", spikes, membranes)
    same(graph, x, "layer.2", *population(spikes.reshape(1, 9, 8).astype(np.int64) @ weight.T, NEURON))
    assert any("weight 36 and bias 34" in sentence for sentence in graph.metadata.assumed)


def test_recurrent_weights_act_a_step_later(tmp_path, draw):
    weight, back = even(draw, 5, 4), even(draw, 5, 5)
    graph = read_graph(write(tmp_path / "n.net", {**dense(weight), "type": "dense_rec", "weight_rec": back}))
    x = draw.integers(0, 2, (1, 12, 4))
    currents, before = x @ weight.T, np.zeros((1, 5), np.int64)
    for t in range(12):
        currents[:, t] += before @ back.T
        before = population(currents[:, : t + 1], NEURON)[0][:, t].astype(np.int64)
    same(graph, x, "layer.0", *population(currents, NEURON))


@pytest.mark.parametrize(
    ("delay", "nodes"), [(3, 1), ([0, 1, 2, 4], 1), ([2, 0, 1], 1), ([[0, 1, 2, 0], [1, 0, 2, 2], [0, 0, 1, 0]], 2)]
)
def test_synapses_wait_as_long_as_the_file_says(tmp_path, draw, delay, nodes):
    weight = even(draw, 3, 4)
    graph = read_graph(write(tmp_path / "n.net", dense(weight, delay=np.array(delay))))
    assert sum(isinstance(node.operation, Delay) for node in graph.nodes.values()) == nodes
    x = draw.integers(0, 2, (1, 12, 4))
    steps = np.array(delay)
    steps = np.broadcast_to(steps[:, None] if steps.shape == (3,) else steps, (3, 4))
    currents = np.zeros((1, 12, 3), np.int64)
    for (out, source), wait in np.ndenumerate(steps):
        currents[:, wait:, out] += weight[out, source] * x[:, : 12 - wait, source]
    same(graph, x, "layer.0", *population(currents, NEURON))


def test_currents_of_a_layer_without_neurons_are_the_output(tmp_path, draw):
    first, second = even(draw, 5, 4), even(draw, 3, 5)
    last = dense(second)
    del last["neuron"]
    graph = read_graph(write(tmp_path / "n.net", dense(first), last))
    x = draw.integers(0, 2, (1, 6, 4))
    spikes, _ = population(x @ first.T, NEURON)
    assert np.array_equal(run(graph, x.astype(np.float32)).outputs, spikes.astype(np.int64) @ second.T)


def test_one_row_of_weights_may_have_one_axis_and_kernels_an_axis_of_time(tmp_path, draw):
    kernel = even(draw, 2, 1, 3, 3, 1)
    flat = {"type": "flatten", "shape": [1, 1, 8]}
    row = dense(even(draw, 1, 8))
    row["weight"] = row["weight"][0]
    graph = read_graph(
        write(tmp_path / "n.net", {"type": "input", "shape": [1, 4, 4]}, conv(kernel, [2, 2, 2]), flat, row)
    )
    assert graph.nodes["layer.1.conv"].operation.weight.shape == (2, 1, 3, 3)
    assert graph.nodes["layer.3.dense"].operation.weight.shape == (1, 8)


def test_the_integers_of_the_file_are_those_of_the_chip(tmp_path, draw):
    weight = even(draw, 3, 4)
    graph = read_graph(write(tmp_path / "n.net", dense(weight, bias=np.array([5.0, -7.0, 0.0]))))
    assert integer_graph(graph) is graph
    lif = graph.nodes["layer.0"].operation
    assert isinstance(lif, LoihiLif)
    assert (lif.decay, lif.current_decay, lif.bias_exponent) == (1024, 4096, 6)
    assert lif.threshold.tolist() == [25] * 3
    assert lif.bias_mantissa.tolist() == [5, -7, 0]
    assert np.array_equal(graph.nodes["layer.0.dense"].operation.weight, weight)


W = np.full((2, 3), 4.0)


def silent(layer):
    """A layer without its neuron."""
    return {key: value for key, value in layer.items() if key != "neuron"}


FLATTENED = ({"type": "input", "shape": [1, 2, 3]}, {"type": "flatten", "shape": [6]})

REFUSED = {
    "a shape of four": ([{"type": "input", "shape": [1, 2, 3, 1]}], ["layer 0 (input): its shape is [1, 2, 3, 1]"]),
    "a shape of nothing": ([{"type": "input", "shape": [1, 0, 3]}], ["layer 0 (input): its shape is [1, 0, 3]"]),
    "strides of three": (
        [FLATTENED[0], conv(np.ones((1, 1, 2, 2)), [1, 1, 2], stride=[1, 1, 1])],
        ["layer 1 (conv): stride is [1, 1, 1]", "two, at least 1"],
    ),
    "a stride of nothing": (
        [FLATTENED[0], conv(np.ones((1, 1, 2, 2)), [1, 1, 2], stride=[1, 0])],
        ["layer 1 (conv): stride is [1, 0]", "two, at least 1"],
    ),
    "no layer of such a type": ([{"type": "average", "shape": [3]}], ["layer 0 (average)", "dense_rec or conv"]),
    "pool": ([dense(W), {"type": "pool", "shape": [3, 1, 1]}], ["layer 1 (pool)"]),
    "sigma-delta neurons": ([dense(W, {"type": "SDNN", "vThMant": 1})], ["layer 0 (dense): neuron", "'SDNN'", "CUBA"]),
    "transposed convolution": ([{"type": "convT", "shape": [3, 1, 1]}], ["layer 0 (convT)"]),
    "resonators": ([dense(W, {"type": "ADRF", "vThMant": 1})], ["layer 0 (dense): neuron", "'ADRF'", "CUBA"]),
    "no type": ([{"shape": [3]}], ["layer 0 has no type"]),
    "no weight": ([{k: v for k, v in dense(W).items() if k != "weight"}], ["layer 0 (dense) has no weight"]),
    "no decay": ([dense(W, {"type": "CUBA", "vDecay": 1, "vThMant": 1})], ["neuron has no iDecay"]),
    "a decay beyond 4096": ([dense(W, {**NEURON, "vDecay": 4097})], ["vDecay is 4097", "0 to 4096"]),
    "a current that never decays": ([dense(W, {**NEURON, "iDecay": 0})], ["iDecay is 0", "1 to 4096"]),
    "a negative threshold": ([dense(W, {**NEURON, "vThMant": -1})], ["vThMant is -1"]),
    "a refractory period": ([dense(W, {**NEURON, "refDelay": 3})], ["refDelay is 3", "expected 1"]),
    "graded spikes": ([dense(W, {**NEURON, "gradedSpike": True})], ["gradedSpike is 1", "expected 0"]),
    "a key of no layer": ([dense(W, gain=np.ones(2))], ["layer 0 (dense): holds 'gain'", "inFeatures"]),
    "a key of another layer": ([dense(W, stride=[1, 1])], ["layer 0 (dense): holds 'stride'"]),
    "recurrent weights of a layer without": (
        [dense(W, weight_rec=np.ones((2, 2)))],
        ["layer 0 (dense): holds 'weight_rec'"],
    ),
    "keys of a flatten layer": ([FLATTENED[0], {**FLATTENED[1], "order": 1}], ["layer 1 (flatten): holds 'order'"]),
    "keys of a neuron": (
        [dense(W, {**NEURON, "thDecay": 7, "refDecay": 2})],
        ["layer 0 (dense): neuron: holds 'refDecay', 'thDecay'", "vThMant"],
    ),
    "weights with fractions": ([dense(W / 8)], ["weight holds 0.5", "integers"]),
    "weights of no number": ([dense(W * np.nan)], ["weight holds nan"]),
    "weights beyond a synapse": ([dense(W * 75)], ["weight reaches from 300 to 300", "-256 to 255"]),
    "weights of another shape": ([{**dense(W), "shape": [4]}], ["weight has the shape [2, 3]", "[4, in]"]),
    "weights of another count": ([{**dense(W), "shape": [3]}], ["weight has the shape [2, 3]", "[3, in]"]),
    "weights in a row of another count": (
        [{**dense(W), "weight": W.ravel(), "shape": [4]}],
        ["weight has the shape [6]", "[4, in]"],
    ),
    "a bias that no neuron adds": ([dense(W), silent(dense(W.T, bias=np.ones(3)))], ["layer 1", "biases, delays"]),
    "delays of pairs that no neuron reads": (
        [dense(W), silent(dense(W.T, delay=np.array([[0, 1], [1, 0], [0, 0]])))],
        ["layer 1", "biases, delays"],
    ),
    "recurrent weights of no neuron": (
        [dense(W), silent({**dense(W.T), "type": "dense_rec", "weight_rec": 4 * np.ones((3, 3))})],
        ["layer 1", "biases, delays or recurrent weights"],
    ),
    "a bias of another shape": ([dense(W, bias=np.ones(3))], ["bias has the shape [3]"]),
    "delays of another shape": ([dense(W, delay=np.ones(5))], ["delay has the shape [5]"]),
    "delays that lava-dl clamps": ([dense(W, delay=np.array(63))], ["delay reaches from 63 to 63", "62"]),
    "no neuron in between": ([{k: v for k, v in dense(W).items() if k != "neuron"}, dense(W.T)], ["layer 0", "neuron"]),
    "a number of inputs": ([dense(W), dense(W)], ["layer 1 (dense) reads 3 numbers; 2 arrive"]),
    "maps that nothing flattens": ([FLATTENED[0], dense(np.ones((2, 6)))], ["layer 1 (dense) reads maps", "flatten"]),
    "a convolution of nothing": ([conv(np.ones((1, 1, 2, 2)), [1, 2, 2])], ["layer 0 (conv) is the first layer"]),
    "a convolution of a vector": (
        [*FLATTENED, conv(np.ones((1, 1, 2, 2)), [1, 2, 2])],
        ["layer 2 (conv) reads a vector of 6"],
    ),
    "outputs of another size": (
        [FLATTENED[0], conv(np.ones((1, 1, 2, 2)), [1, 2, 2])],
        ["layer 1 (conv) declares outputs [1, 2, 2]; its windows leave [1, 1, 2]"],
    ),
    "delays of convolutions": (
        [FLATTENED[0], conv(np.ones((1, 1, 2, 2)), [1, 1, 2], delay=np.ones(2))],
        ["layer 1 (conv): has delays"],
    ),
    "no neurons at all": ([{k: v for k, v in dense(W).items() if k != "neuron"}], ["no neurons"]),
    "an input in between": ([dense(W), FLATTENED[0]], ["layer 1 (input)", "layer 0 only"]),
}


@pytest.mark.parametrize("case", REFUSED, ids=list(REFUSED))
def test_what_is_not_understood_is_refused_by_layer(tmp_path, case):
    layers, words = REFUSED[case]
    path = write(tmp_path / "n.net", *layers)
    with pytest.raises(RefusedInput) as caught:
        read_graph(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    for word in words:
        assert word in message


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_files_are_refused_or_read(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("netx") / "n.net"
    damaged = bytearray(write(path, dense(W), dense(np.ones((2, 2)))).read_bytes())
    places = st.tuples(st.integers(0, len(damaged) - 1), st.integers(0, 255))
    for place, byte in data.draw(st.lists(places, min_size=1, max_size=3)):
        damaged[place] = byte
    path.write_bytes(damaged)
    said = ""
    try:
        layers = read_layers(path)
        if layers is not None:
            from_layers(layers, path)
    except RefusedInput as error:
        said = str(error)
    assert not said or said.startswith(str(path))


def test_layers_that_are_missing_are_refused(tmp_path):
    path = write(tmp_path / "n.net", dense(W), dense(np.ones((2, 2))))
    with h5py.File(path, "r+") as file:
        file.move("layer/0", "layer/2")
    with pytest.raises(RefusedInput, match="2 layers, none of them 0"):
        read_graph(path)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (Asked(reset="subtract"), "sets v to 0"),
        (Asked(integrators="dt"), "--integrators"),
        (Asked(written_by="norse"), "--written-by"),
    ],
)
def test_callers_who_contradict_the_format_are_refused(tmp_path, asked, words):
    path = write(tmp_path / "n.net", dense(W))
    with pytest.raises(RefusedInput, match=words):
        read_graph(path, asked=asked)


def test_integers_outside_the_chips_widths_are_refused_before_they_run(tmp_path):
    path = write(tmp_path / "n.net", dense(W, {**NEURON, "vThMant": 2**17}))
    with pytest.raises(RefusedInput, match=r"n.net: layer.0: v_threshold 131072 exceeds 131071"):
        integer_graph(read_graph(path))


@pytest.mark.parametrize(
    ("names", "found"), [(["layer"], True), (["node"], False), (["layer", "node"], False), ([], False)]
)
def test_a_file_of_layers_is_no_graph_of_nir(tmp_path, names, found):
    with h5py.File(tmp_path / "n.h5", "w") as file:
        for name in names:
            file.create_group(name)
        assert is_netx(file) is found
