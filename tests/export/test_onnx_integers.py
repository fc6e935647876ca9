"""The chip's integers as ONNX models of integer operators: every spike, v and output, against oracles written apart."""

import json
from types import SimpleNamespace

import nir
import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from export.onnx.builder import Builder
from export.onnx.integers.model import build
from export.onnx.integers.operators import add_affine, add_conv, add_max_pool, add_sum_pool
from export.onnx.integers.supported import refusals
from export.onnx.integers.values import Value, digits, scaled, width
from neuromorphic.errors import RefusedInput
from neuromorphic.execution.reference import run
from neuromorphic.ops import Affine, Conv2d, MaxPool2d, Shapes, SumPool2d
from neuromorphic.reading.build import from_nir
from tests.drawn import drawn
from tests.neuromorphic import chip_oracle
from tests.neuromorphic.graphs import chain, lif, small_net
from tests.neuromorphic.loihi2.test_compositions import FEW, T, quantised
from tests.properties.random_graphs import integer_examples

INTEGERS = {onnx.TensorProto.UINT8, onnx.TensorProto.INT8, onnx.TensorProto.INT32, onnx.TensorProto.INT64}


def in_runtime(model, given, optimised=True):
    """All outputs by name."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, given), strict=True))


def per_step(frames, graph):
    """int8 `[N, T, *shape]`."""
    shape = graph.nodes[graph.input].shape
    steps = graph.metadata.time_steps
    if frames.ndim == len(shape) + 1:
        frames = np.repeat(frames[:, None], steps, axis=1)
    return frames.astype(np.int8)


def assert_same(found, spikes, membranes, outputs):
    for name, train in spikes.items():
        np.testing.assert_array_equal(found[name].reshape(train.shape), train != 0, err_msg=name)
        left = found[f"{name}/membranes"]
        np.testing.assert_array_equal(left.reshape(membranes[name].shape), membranes[name], err_msg=name)
    np.testing.assert_array_equal(found["outputs"].astype(np.float32).reshape(outputs.shape), outputs)


@drawn(20, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(integer_examples())
def test_random_graphs_that_wrap_and_saturate_equal_the_reference(example):
    graph, frames = example.graph, example.frames
    expected = run(graph, frames)
    found = in_runtime(build(graph, spikes=True), {"frames": per_step(frames, graph)})
    spikes = {name: train.unpack() for name, train in expected.spikes.items()}
    assert_same(found, spikes, expected.membranes, expected.outputs)


@pytest.mark.parametrize(
    "seed", [*range(FEW // 2), *(pytest.param(n, marks=pytest.mark.slow) for n in range(FEW // 2, FEW))]
)
def test_compositions_with_loops_and_delays_are_what_the_chips_equations_say(seed):
    graph, frames = quantised(seed, membranes=False)
    if refused := refusals(graph):
        assert all("computes in fractions" in reason or "divides its sums" in reason for reason in refused)
        return
    spikes, membranes, outputs = chip_oracle.run(graph, frames)
    found = in_runtime(build(graph, spikes=True), {"frames": per_step(frames, graph)})
    whole = {name: v.astype(np.int64) for name, v in membranes.items()}
    assert_same(found, spikes, whole, outputs.astype(np.float32))


def test_most_compositions_are_built():
    graphs = [quantised(seed, membranes=False, images=1)[0] for seed in range(12)]
    assert sum(not refusals(graph) for graph in graphs) >= 9


def test_no_tensor_of_the_file_holds_floats():
    graph, _ = quantised(3, membranes=False)
    model = onnx.shape_inference.infer_shapes(build(graph, spikes=True), strict_mode=True)
    assert {opset.domain for opset in model.opset_import} == {""}
    inferred = (*model.graph.value_info, *model.graph.input, *model.graph.output)
    kinds = {value.type.tensor_type.elem_type for value in inferred} | {t.data_type for t in model.graph.initializer}
    assert kinds <= INTEGERS | {onnx.TensorProto.BOOL}
    named = {value.name for value in inferred}
    assert all(output in named for node in model.graph.node for output in node.output)


def test_the_specifications_own_evaluator_computes_the_same():
    graph, frames = quantised(5, membranes=False)
    model = build(graph, spikes=True)
    given = {"frames": per_step(frames, graph)}
    found = in_runtime(model, given)
    values = ReferenceEvaluator(model).run(None, given)
    for output, value in zip(model.graph.output, values, strict=True):
        np.testing.assert_array_equal(value, found[output.name], err_msg=output.name)
    for name, value in in_runtime(model, given, optimised=False).items():
        np.testing.assert_array_equal(value, found[name], err_msg=name)


@given(st.lists(st.integers(-(2**20), 2**20), min_size=1, max_size=12), st.integers(1, 3), st.integers(0, 9))
def test_digits_of_weights_are_bytes_that_sum_to_them(numbers, channels, exponent):
    weight = np.array([numbers] * channels, np.int64) << np.arange(channels)[:, None] * exponent
    total = sum(factor[:, None] * (digit.astype(np.int64) - 128) for digit, factor in digits(weight))
    np.testing.assert_array_equal(total, weight)


def test_even_weights_and_channels_of_other_exponents_are_one_digit():
    assert len(digits(np.array([[-256, 254, 0]]))) == 1
    assert len(digits(np.array([[-(2**14), 127 * 2**7], [3, -128], [0, 0]]))) == 1
    assert len(digits(np.array([[129, 1]]))) == 2
    assert len(digits(np.zeros((2, 2), np.int64))) == 1


def computed(add, x, low, high):
    """What `add(builder, value)` makes of x."""
    builder = Builder()
    value = add(builder, Value("x", x.dtype.type, low, high))
    kind = {np.int32: onnx.TensorProto.INT32, np.int64: onnx.TensorProto.INT64}
    types = {**kind, np.uint8: onnx.TensorProto.UINT8}
    ends = ((types[x.dtype.type], "x"), (types[value.dtype], value.name))
    given, output = (onnx.helper.make_tensor_value_info(name, code, None) for code, name in ends)
    made = onnx.helper.make_graph(builder.nodes, "g", [given], [output], list(builder.constants.values()))
    model = onnx.helper.make_model(made, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 18)])
    found = in_runtime(model, {"x": x})[value.name].astype(np.int64)
    assert value.low <= found.min()
    assert found.max() <= value.high
    return found


@pytest.mark.parametrize(
    ("low", "high", "dtype"), [(0, 1, np.uint8), (-128, 127, np.int32), (0, 255, np.int32), (-(2**20), 2**20, np.int32)]
)
@pytest.mark.parametrize(("groups", "most"), [(1, 127), (2, 127), (1, 2**17)])
def test_convolutions_of_every_width_equal_their_definition(low, high, dtype, groups, most):
    rng = np.random.default_rng(7)
    weight = rng.integers(-most - 1, most + 1, (4, 4 // groups, 3, 2)).astype(np.float32)
    conv = Conv2d(weight, np.zeros(4, np.float32), (2, 1), (1, 1), (1, 2), groups, beyond=(0, 1))
    shapes = Shapes((4, 6, 5), (4, *conv.windows.size((4, 6, 5), "conv")))
    x = rng.integers(low, high + 1, (3, *shapes.input)).astype(dtype)
    x[0] = high  # every product at its largest at once
    found = computed(lambda builder, value: add_conv(builder, "y", conv, shapes, value, "y"), x, low, high)
    np.testing.assert_array_equal(found, conv.apply(x.astype(np.float64), shapes))


@pytest.mark.parametrize(("low", "high"), [(-128, 127), (0, 255), (-(2**24), 2**24), (-(2**30), 2**30)])
@pytest.mark.parametrize("most", [127, 2**15])
def test_matrices_of_every_width_equal_their_definition(low, high, most):
    rng = np.random.default_rng(8)
    affine = Affine(rng.integers(-most, most + 1, (3, 40)).astype(np.float32), np.zeros(3, np.float32))
    x = rng.integers(low, high + 1, (2, 40)).astype(np.int32)
    found = computed(lambda builder, value: add_affine(builder, "y", affine, value, "y"), x, low, high)
    np.testing.assert_array_equal(found, x.astype(np.int64) @ affine.weight.astype(np.int64).T)


def test_windows_of_sums_and_of_maxima_equal_their_definition():
    x = np.random.default_rng(9).integers(-900, -100, (2, 3, 5, 6)).astype(np.int32)
    shapes = Shapes((3, 5, 6), (3, 3, 4))
    largest, sums = MaxPool2d((3, 2), (2, 2), (1, 1)), SumPool2d((3, 2), (2, 2), (1, 1))
    found = computed(lambda builder, value: add_max_pool(builder, "y", largest, shapes, value), x, -900, -100)
    np.testing.assert_array_equal(found, largest.apply(x.astype(np.float64), shapes))
    found = computed(lambda builder, value: add_sum_pool(builder, "y", sums, shapes, value), x, -900, -100)
    np.testing.assert_array_equal(found, sums.apply(x.astype(np.float64), shapes))
    whole = Shapes((3, 5, 6), (3, 1, 1))
    everything = SumPool2d((5, 6), (5, 6), (0, 0))
    found = computed(lambda builder, value: add_sum_pool(builder, "y", everything, whole, value), x, -900, -100)
    np.testing.assert_array_equal(found, x.sum((2, 3), keepdims=True))


def test_types_are_wide_enough_at_their_edges():
    assert width(2**31 - 1, 1 - 2**31) is np.int32
    assert width(2**31) is np.int64


def test_what_has_no_integers_is_refused_with_all_reasons():
    with pytest.raises(RefusedInput, match=r"node 'lif' is a LIF of floats.*node 'lif2' is a LIF of floats"):
        build(from_nir(small_net()))
    graph = from_nir(chain({"li": nir.LI(*(np.full(2, n, np.float32) for n in (2e-4, 1, 0)))}, (2,), (2,)))
    (reason,) = refusals(graph)
    assert "node 'li' is a LI of the host, which computes in fractions" in reason


def test_the_file_says_what_it_is():
    graph, _ = quantised(3, membranes=False)
    model = build(graph)
    (prop,) = model.metadata_props
    document = json.loads(prop.value)
    assert (document["format"], document["time_steps"]) == ("spikeclip-onnx-integers", T)
    assert [output.name for output in model.graph.output] == ["outputs"]
    assert model.SerializeToString(deterministic=True) == build(graph).SerializeToString(deterministic=True)


def test_a_name_that_is_the_models_own_is_refused():
    graph = from_nir(chain({"frames": lif((2,))}, (2,), (2,)))
    assert any("node 'frames' has the name of the model's input or output" in reason for reason in refusals(graph))


@pytest.mark.parametrize(
    ("factor", "expected"),
    [([1, 1], None), ([4], 4), ([4, 4], 4), ([2, 4], [2, 4]), ([[2], [4]], [[2], [4]]), ([1, 4], [1, 4])],
)
def test_factors_are_one_number_where_they_are_alike_and_none_where_they_are_1(factor, expected):
    made = []
    builder = SimpleNamespace(
        constant=lambda name, value: made.append(value) or name, add=lambda operator, name, *read: (operator, *read)
    )
    found = scaled(builder, "y", "x", np.array(factor), np.int32)
    assert found == ("x" if expected is None else ("Mul", "x", "y/factor"))
    assert [value.tolist() for value in made] == ([] if expected is None else [expected])
    assert all(value.dtype == np.int32 for value in made)
