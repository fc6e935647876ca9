"""Quantisation: a scheme that brings every integer back, sums that stay in their widths."""

import json
from dataclasses import replace

import nir
import numpy as np
import pytest
from lava.utils.weightutils import SignMode, determine_sign_mode, optimize_weight_bits

import export
from neuromorphic.analysis.streams import host_nodes, streams
from neuromorphic.errors import RefusedInput
from neuromorphic.execution import reference
from neuromorphic.execution.fast import run
from neuromorphic.execution.frames import per_step
from neuromorphic.loihi2.calibrate import Calibration
from neuromorphic.loihi2.certificate import certify_widths, check
from neuromorphic.loihi2.file import integer_graph, write_quantised
from neuromorphic.loihi2.integers import integers
from neuromorphic.loihi2.quantise import calibrate, quantise, quantised, with_scheme
from neuromorphic.loihi2.rounding import round_in_turn, round_to_nearest
from neuromorphic.loihi2.scheme import Scheme
from neuromorphic.ops import Affine, Conv2d, Lif, LoihiLif, SelfAttention
from neuromorphic.ops.loihi import wrap
from neuromorphic.reading.build import from_nir
from neuromorphic.reading.frames import encode
from neuromorphic.reading.read import read_graph
from tests.export.encoders import checkpoint, published
from tests.neuromorphic.graphs import DT, chain, conv, lif, max_pool, small_net

T = 4


def pixels(count, size=16, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


@pytest.fixture(scope="module", params=["paper", "spike-driven"])
def encoder(request):
    """A random encoder's file, and what calibration makes of it."""
    stored = export.prepare(checkpoint(published(1, architecture=request.param), 16)).graph
    graph = from_nir(stored)
    floats, scheme = calibrate(graph, encode(graph, pixels(6)))
    return stored, graph, floats, scheme


def operations_equal(a, b):
    assert list(a.nodes) == list(b.nodes)
    for name, node in a.nodes.items():
        other = b.nodes[name]
        assert (node.sources, type(node.operation)) == (other.sources, type(other.operation))
        for key, value in vars(node.operation).items():
            assert np.array_equal(value, vars(other.operation)[key]), f"{name}: {key}"


def test_the_file_brings_every_integer_back(encoder, tmp_path):
    stored, _, floats, scheme = encoder
    whole = integers(floats, scheme)
    nir.write(tmp_path / "float.nir", stored)
    write_quantised(tmp_path / "float.nir", floats, scheme, tmp_path / "quantised.nir")
    again = integer_graph(read_graph(tmp_path / "quantised.nir"))
    operations_equal(again, whole)
    for key, numbers in vars(whole.metadata.readout).items():
        assert np.array_equal(vars(again.metadata.readout)[key], numbers)
    assert Scheme.from_dict(json.loads(json.dumps(scheme.to_dict())), "") == scheme


def test_nodes_of_subgraphs_and_grouped_kernels_are_written_where_they_stand(tmp_path):
    kernel = np.random.default_rng(0).normal(size=(4, 1, 3, 3)).astype(np.float32)
    shape = (4, 2, 2)
    inner = {
        "in": nir.Input(np.array((2, 4, 4))),
        "conv": nir.Conv2d((4, 4), kernel, (1, 1), (0, 0), (1, 1), 2, np.zeros(4, np.float32)),
        "lif": lif(shape, 0.5),
        "out": nir.Output(np.array(shape)),
    }
    edges = [("in", "conv"), ("conv", "lif"), ("lif", "out")]
    stored = chain({"block": nir.NIRGraph(inner, edges, type_check=False)}, (2, 4, 4), shape, T)
    nir.write(tmp_path / "float.nir", stored)
    frames = np.random.default_rng(1).normal(size=(3, 2, 4, 4)).astype(np.float32)
    floats, scheme = calibrate(read_graph(tmp_path / "float.nir"), frames)
    write_quantised(tmp_path / "float.nir", floats, scheme, tmp_path / "quantised.nir")
    again = integer_graph(read_graph(tmp_path / "quantised.nir"))
    assert again.nodes["block.conv"].operation.weight.shape == (4, 1, 3, 3)
    operations_equal(again, integers(floats, scheme))


def test_everything_is_an_integer_within_its_width(encoder):
    _, _, floats, scheme = encoder
    whole = integers(floats, scheme)
    check(whole)
    host = host_nodes(whole)
    for name, node in whole.nodes.items():
        operation = node.operation
        assert not isinstance(operation, Lif)
        if isinstance(operation, Conv2d | Affine):
            assert np.array_equal(operation.weight, np.round(operation.weight))
            assert name in host or not operation.bias.any()
        if isinstance(operation, SelfAttention):
            assert operation.scale == round(operation.scale)
    frames = encode(whole, pixels(2))
    per_step(whole, frames)
    assert frames.min() < -100
    assert frames.max() > 100


def test_lavas_own_function_for_loihi_2_takes_every_kernel(encoder):
    """Within -256 to 254 without an exponent, and nothing is cut off: Lava returns q, its exponent and its bits."""
    _, _, floats, scheme = encoder
    whole = integers(floats, scheme)
    kernels = [n.operation.weight.astype(np.int64) for n in whole.nodes.values() if isinstance(n.operation, Conv2d)]
    assert len(kernels) > 8
    for kernel in kernels:
        mode = determine_sign_mode(kernel)
        held = optimize_weight_bits(kernel, mode, loihi2=True)
        doubled = int(mode is SignMode.MIXED)
        assert np.array_equal(held.weights * 2.0 ** (held.weight_exp + 8 - held.num_weight_bits + doubled), kernel)


def test_fast_run_equals_the_reference(encoder):
    _, _, floats, scheme = encoder
    whole = integers(floats, scheme)
    frames = encode(whole, pixels(3, seed=5))
    trace, activity = reference.run(whole, frames), run(whole, frames, T)
    for name, train in trace.spikes.items():
        assert np.array_equal(train.unpack(), activity.spikes[name]), name
        assert np.array_equal(trace.membranes[name], activity.membranes[name]), name
    assert np.array_equal(trace.outputs, activity.outputs.astype(np.float32))
    assert sum(train.count() for train in trace.spikes.values()) > 1000


def test_numbers_of_the_file_give_the_spikes_of_the_integers(encoder):
    """The float graph with the chip's numbers differs by the rounding of halved biases alone."""
    _, graph, floats, scheme = encoder
    whole = integers(floats, scheme)
    images = pixels(3, seed=6)
    ours = reference.run(whole, encode(whole, images))
    theirs = reference.run(floats, encode(graph, images))
    for name, train in ours.spikes.items():
        assert np.mean(train.unpack() != theirs.spikes[name].unpack()) < 0.02, name


def test_scores_stay_near_the_floats(encoder):
    _, graph, floats, scheme = encoder
    images = pixels(4, seed=7)
    whole = integers(floats, scheme)
    ours = reference.run(whole, encode(whole, images)).scores
    theirs = reference.run(graph, encode(graph, images)).scores
    assert np.abs(ours - theirs).max() < 0.15 * np.ptp(theirs)


def test_nothing_wraps_in_any_case(encoder):
    _, _, floats, scheme = encoder
    assert not sum(proof.wrapping for proof in certify_widths(integers(floats, scheme)).populations.values())


def test_round_in_turn_loses_less_where_inputs_are_alike():
    rng = np.random.default_rng(0)
    rows = (rng.normal(3, 1, (2, 500, 1)) + 0.1 * rng.normal(size=(2, 500, 12))).astype(np.float32)
    weights = rng.normal(0, 30, (6, 12))
    errors = []
    for whole in (round_in_turn(weights, rows), round_to_nearest(weights)):
        assert np.array_equal(whole, np.round(whole))
        assert np.abs(whole).max() <= 128
        lost = (weights - whole).reshape(2, 3, 12)
        errors.append(float((np.einsum("gon,grn->gro", lost, rows) ** 2).mean()))
    assert errors[0] < errors[1] / 10


def test_the_bound_is_where_wrapping_begins():
    """Of three neurons with 16 spikes each: u = 2^23 stays, a little less stays, -2^23 wraps, as `wrap` has it."""
    nodes = {"s": lif((16,)), "w": nir.Affine(np.ones((3, 16)), np.zeros(3)), "lif": lif((3,))}
    graph = from_nir(chain(nodes, (16,), (3,)))
    nodes = dict(graph.nodes)
    for name in ("s", "lif"):
        shape = nodes[name].shape
        whole = LoihiLif(2048, np.full(shape, 9, np.int32), np.zeros(shape, np.int32), 0)
        nodes[name] = replace(nodes[name], operation=whole)
    weight = np.tile([[8192.0], [8064.0], [-8192.0]], 16).astype(np.float32)
    nodes["w"] = replace(nodes["w"], operation=replace(nodes["w"].operation, weight=weight))
    proof = certify_widths(replace(graph, nodes=nodes)).populations["lif"]
    reached = 64 * weight.sum(1)
    assert reached.tolist() == [2**23, 64 * 16 * 8064, -(2**23)]
    assert (wrap(reached) != reached).tolist() == [False, False, True]
    assert (proof.neurons, proof.wrapping, proof.worst) == (3, 1, (2,))
    assert (proof.current, proof.membrane) == ((-(2**23), 2**23), -(2**23) * 15 // 8)
    assert "lif: u of 1 and v of 1 of 3 neurons can leave 24 bits" in proof.sentence("lif")
    nodes["w"] = replace(nodes["w"], operation=replace(nodes["w"].operation, weight=weight / 2))
    assert certify_widths(replace(graph, nodes=nodes)).populations["lif"].proven


def cuba(tau_mem, w_in=1.0):
    def full(value):
        return np.full((1, 4, 4), value, np.float32)

    step = np.float32(DT)
    return nir.CubaLIF(full(2 * step), full(tau_mem * step), full(1), full(0), full(1), full(0), full(w_in))


def whole_neuron(threshold=100, mantissa=0, exponent=0, decay=2048, **more):
    return LoihiLif(decay, np.array([threshold], np.int32), np.array([mantissa], np.int32), exponent, **more)


def population(**numbers):
    graph = from_nir(chain({"lif": lif((1,))}, (1,), (1,)))
    return replace(graph, nodes={**graph.nodes, "lif": replace(graph.nodes["lif"], operation=whole_neuron(**numbers))})


def test_neurons_of_floats_are_no_integers():
    with pytest.raises(RefusedInput, match="lif is a LIF of floats; expected integers"):
        check(from_nir(chain({"lif": lif((1,))}, (1,), (1,))))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"threshold": 140000}, r"lif: v_threshold 140000 exceeds 131071 \(17 bits\); lower the weight scale"),
        ({"threshold": -1}, r"lif: v_threshold -1 is below 0 \(17 bits\)"),
        ({"mantissa": 4096}, r"lif: bias mantissa 4096 exceeds 4095 \(13 bits\)"),
        ({"mantissa": -4097}, r"lif: bias mantissa -4097 is below -4096 \(13 bits\)"),
        ({"exponent": 8}, r"lif: bias exponent 8 exceeds 7 \(3 bits\)"),
        ({"decay": 4097}, r"lif: decay 4097 exceeds 4096 \(12 bits\)"),
        ({"decay": 4096, "current_decay": 4095}, r"lif: decay 4096 exceeds 4095 \(12 bits\)"),
        ({"current_decay": 0}, r"lif: decay of u 0 is below 1 \(12 bits\)"),
        ({"drive": np.array([129])}, r"lif: the drive of output channel 0, up to 129, are no integers of 8 bits"),
    ],
)
def test_widths_are_enforced(parameters, message):
    check(population())
    with pytest.raises(RefusedInput, match=message):
        check(population(**parameters))


@pytest.mark.parametrize(("weight", "fits"), [(127, True), (-128 * 128, True), (129, False), (254, True), (0.5, False)])
def test_weights_are_eight_bits_and_an_exponent(weight, fits):
    floats = from_nir(chain({"w": nir.Affine(np.array([[weight]]), np.zeros(1)), "lif": lif((1,))}, (1,), (1,)))
    graph = replace(floats, nodes={**floats.nodes, "lif": replace(floats.nodes["lif"], operation=whole_neuron())})
    if fits:
        check(graph)
    else:
        with pytest.raises(RefusedInput, match="w: the weights of output channel 0, up to"):
            check(graph)


def test_frames_beyond_eight_bits_are_refused():
    graph = from_nir(chain({"lif": lif((2,))}, (2,), (2,)))
    graph = replace(graph, nodes={**graph.nodes, "lif": replace(graph.nodes["lif"], operation=whole_neuron())})
    per_step(graph, np.array([[-128, 127]], np.float32))
    for value in (128, -129, 0.5):
        with pytest.raises(RefusedInput, match=f"frames hold {value}; .* integers from -128 to 127"):
            per_step(graph, np.array([[0, value]], np.float32))


def test_overflows_are_counted():
    """Two neurons: both wrap at both steps; the second saturates below at the second step; neither."""
    graph = from_nir(chain({"w": nir.Affine(np.array([[16256], [-16256]]), np.zeros(2)), "lif": lif((2,))}, (1,), (2,)))
    whole = LoihiLif(0, np.array([131071] * 2, np.int32), np.zeros(2, np.int32), 0)
    graph = replace(graph, nodes={**graph.nodes, "lif": replace(graph.nodes["lif"], operation=whole)})
    for frame, wraps, saturations in ((9, 4, 1), (8, 0, 1), (4, 0, 0)):
        frames = np.array([[frame]], np.float32)
        found = run(graph, frames, 2)
        assert (found.overflows["lif"].wraps, found.overflows["lif"].saturations) == (wraps, saturations), frame
        trace = reference.run(graph, np.repeat(frames[:, None], T, 1))
        assert np.array_equal(trace.spikes["lif"].unpack()[:, :2], found.spikes["lif"])
    proof = certify_widths(graph).populations["lif"]
    assert (proof.neurons, proof.wrapping) == (2, 2)


def test_streams_of_the_encoder(encoder):
    _, graph, _, _ = encoder
    residual = next(s for s in streams(graph) if "block.0.mlp.lif" in s.populations)
    assert set(residual.synapses) == {"stem.tokens.conv", "block.0.attn.proj.conv", "block.0.mlp.proj.conv"}
    assert host_nodes(graph) == {"readout.sum", "readout", "output"}


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ({"lif": lif((1, 4, 4), r=-1.0)}, r"'lif': r is -1; expected more than 0"),
        ({"lif": nir.Threshold(np.full((1, 4, 4), -0.5))}, r"'lif': its threshold is -0.5; the chip's are 0 or more"),
        (
            {"lif": cuba(1.0)},
            r"'lif': dt / tau_mem is 1 while its current outlasts its step; the chip's v decays by 4095 of 4096",
        ),
        ({"lif": cuba(2.0, w_in=-1.0)}, r"'lif': w_in is -1; expected more than 0"),
        ({"i": nir.I(np.ones((1, 4, 4))), "lif": lif((1, 4, 4))}, r"'i' sends its membranes to other neurons"),
        ({"conv": conv([[[[1]]]], hw=(4, 4))}, "it has no neurons that spike"),
        (
            {"w": conv([[[[1]]]], [1.0], hw=(4, 4)), "late": nir.Delay(np.full((1, 4, 4), DT)), "lif": lif((1, 4, 4))},
            "node 'late': biases reach it with its currents; expected none, since the chip adds them at its neurons",
        ),
        (
            {
                "scale": nir.Scale(np.arange(1, 17).reshape(1, 4, 4)),
                "w": nir.Scale(np.arange(1, 17).reshape(1, 4, 4)),
                "lif": lif((1, 4, 4)),
            },
            "'w' scales currents; the chip has no factors but weights",
        ),
        (
            {
                "first": conv([[[[1]]]], hw=(4, 4)),
                "late": nir.Delay(np.full((1, 4, 4), DT)),
                "second": conv([[[[1]]]], hw=(4, 4)),
                "lif": lif((1, 4, 4)),
            },
            "node 'second' reads the currents of late; on the chip synapses read spikes",
        ),
    ],
)
def test_what_the_chip_does_not_have_is_refused(nodes, message):
    graph = from_nir(chain(nodes, (1, 4, 4), (1, 4, 4)))
    with pytest.raises(RefusedInput, match=message):
        quantise(graph, np.ones((1, 1, 4, 4), np.float32))


def test_biases_that_differ_within_a_window_are_refused():
    """A sum-pool over padding turns one bias into several."""
    pool = nir.SumPool2d(np.array([3, 3]), np.array([1, 1]), np.array([1, 1]))
    nodes = {"w": conv([[[[1]]]], [1.0], hw=(4, 4)), "sum": pool, "max": max_pool((1, 4, 4)), "lif": lif((1, 2, 2))}
    graph = from_nir(chain(nodes, (1, 4, 4), (1, 2, 2)))
    with pytest.raises(RefusedInput, match="max: the biases before it differ within a window"):
        quantise(graph, np.ones((1, 1, 4, 4), np.float32))


def test_an_integer_graph_is_not_quantised_again():
    with pytest.raises(RefusedInput, match="quantised already"):
        quantise(population(), np.ones((1, 1), np.float32))


def test_a_broken_scheme_is_refused(encoder):
    _, _, _, scheme = encoder
    document = scheme.to_dict()
    for change in ({"units": None}, {"granularity": "neuron"}, {"input_scale": 0.0}, {"populations": {"x": {"y": 1}}}):
        with pytest.raises(RefusedInput):
            Scheme.from_dict({**document, **change}, "file.nir")


def test_the_integers_of_what_calibrate_returns_are_those_of_quantise():
    graph = from_nir(small_net())
    frames = np.random.default_rng(0).integers(-8, 9, (2, 2, 6, 6)).astype(np.float32)
    floats, whole, scheme = quantised(graph, frames)
    assert (floats, scheme) == calibrate(graph, frames)
    assert (whole, scheme) == quantise(graph, frames)
    again = integers(with_scheme(floats, scheme), scheme)
    assert (whole, whole.made_of) == (again, again.made_of)


def test_weights_behind_neurons_are_rounded_for_every_step_and_for_frames_that_stay_once():
    graph = from_nir(small_net())
    stills = np.random.default_rng(0).normal(0.5, 1, (3, 2, 6, 6)).astype(np.float32)
    calibration = Calibration(graph, stills, stills, T)
    first, last = [node for node in graph.nodes.values() if isinstance(node.operation, Conv2d | Affine)]
    np.testing.assert_array_equal(calibration.maps(graph, first, calibration.spikes), stills)
    read = calibration.maps(graph, last, calibration.spikes).reshape(3, T, -1)
    np.testing.assert_array_equal(read, calibration.spikes["lif2"].reshape(3, T, -1))
