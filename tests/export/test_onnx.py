"""The ONNX model, in ONNX Runtime with and without its optimisations, equals the reference in every spike."""

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from safetensors.torch import save
from spikingjelly.activation_based import layer

import export
from export.onnx.builder import write
from export.onnx.model import build
from neuromorphic.execution.reference import run as reference
from neuromorphic.ir.metadata import GraphMetadata
from neuromorphic.reading.build import from_nir
from spikeclip.config import SpikeClipConfig
from spikeclip.errors import RefusedInput
from tests.export.encoders import CLASSES, Custom, checkpoint, conv, lif, prepare_shipped, published, seeded
from tests.export.onnx_runs import assert_equal, assert_recorded, run
from tests.export.parity import images

OPTIMISED = [True, False]


def assert_same_spikes(prepared, pixels):
    """Against the reference, which adds in float64."""
    model = build(prepared, spikes=True)
    trace = reference(from_nir(prepared.graph), prepared.encode(pixels))
    for optimised in OPTIMISED:
        assert_equal(prepared, model, pixels, trace, optimised)
    return trace


def test_a_readout_of_currents_in_both_precisions():
    """A maximum that nothing but the readout reads is float64, the current beside it float32; one is constant."""
    encoder = Custom(
        lambda m, x: m.pool(m.c1(m.a(m.c0(x)))) + m.c2(m.b(m.c3(x))) + m.c4(x),
        c0=conv(3, 8),
        a=lif(),
        c1=conv(8, 8, bias=True),
        pool=layer.MaxPool2d(2, step_mode="m"),
        c3=conv(3, 8, stride=2),
        b=lif(),
        c2=conv(8, 8),
        c4=conv(3, 8, stride=2),
    )
    encoder.config = SpikeClipConfig(architecture="paper", width=8, depth=1, image_size=8, heads=1)
    encoder.time_weights = torch.nn.Parameter(torch.tensor([0.1, 0.2, 0.4, 0.8]))
    prepared = export.prepare(checkpoint(seeded(encoder), 8))
    assert prepared.certificate.exact
    assert {prepared.certificate.nodes[name].limit for name in ("pool", "c2")} == {24, 53}
    assert_same_spikes(prepared, images(prepared, 3, 0))


@pytest.mark.parametrize("sizes", [{}, {"architecture": "paper", "heads": 2}], ids=["spike-driven", "paper"])
def test_the_standards_own_evaluator_agrees(make_encoder, sizes):
    """`onnx.reference` is the specification in numpy: what ONNX Runtime computes is what the file says."""
    prepared = export.prepare(checkpoint(make_encoder(3, width=8, image_size=8, **sizes), 8))
    pixels, model = images(prepared, 1, 0), build(prepared, spikes=True)
    evaluator = ReferenceEvaluator(model)
    expected = dict(zip(evaluator.output_names, evaluator.run(None, {"images": pixels}), strict=True))
    for name, found in run(model, pixels).items():
        assert found.dtype == expected[name].dtype
        np.testing.assert_array_equal(found, expected[name], err_msg=name)


def test_attention_in_standard_nodes():
    prepared = export.prepare(checkpoint(published(0, width=8, heads=2, image_size=8), 8), standard_nodes=True)
    assert_same_spikes(prepared, images(prepared, 2, 0))


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
    trace = assert_same_spikes(prepared, pixels)
    late = build(prepared, spikes=True)
    thresholds = [c for c in late.graph.initializer if c.name == "number/0.99999994"]
    thresholds[0].raw_data = np.float32(1).tobytes()  # `v > 1` instead of `v >= 1`
    moved = run(late, pixels)
    assert any(int(moved[name].sum()) != train.count() for name, train in trace.spikes.items())


@pytest.mark.parametrize("name", ["spike-driven-small", "paper-small"])
def test_shipped_checkpoints(name, photographs):
    """Against torch: 256 CIFAR-10 images where the tests have them, else the samples."""
    prepared = prepare_shipped(name)
    pixels = photographs(32, 256).images
    model = build(prepared, spikes=True)
    compared = 0
    for start in range(0, len(pixels), 32):
        batch = pixels[start : start + 32]
        compared += assert_recorded(prepared, model, batch, optimised=start % 64 == 0, threads=2)
    neurons = sum(int(np.prod(prepared.graph.nodes[name].output_type["output"])) for name in prepared.populations)
    assert compared == len(pixels) * neurons * prepared.certificate.time_steps


@pytest.fixture(scope="module", params=["spike-driven", "paper"])
def prepared(make_encoder, request):
    return export.prepare(checkpoint(make_encoder(2, depth=2, architecture=request.param), 16))


def test_operators_are_standard_and_the_batch_is_free(prepared):
    model = build(prepared, spikes=True)
    onnx.checker.check_model(model, full_check=True)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 18)]
    assert {node.domain for node in model.graph.node} == {""}
    assert not {node.op_type for node in model.graph.node} & {"Loop", "Scan", "If"}
    assert len({node.name for node in model.graph.node}) == len(model.graph.node)
    (given_images,) = model.graph.input
    for value in (given_images, *model.graph.output):
        batch, *others = value.type.tensor_type.shape.dim
        assert batch.dim_param == "N"
        assert all(axis.dim_value > 0 for axis in others)
    pixels = images(prepared, 4, 0)
    whole = run(model, pixels)
    for n in (1, 3):
        for name, part in run(model, pixels[:n]).items():
            np.testing.assert_array_equal(part, whole[name][:n], err_msg=name)


def test_spikes_are_no_outputs_unless_asked_for(prepared):
    pixels = images(prepared, 2, 0)
    bare, full = run(build(prepared), pixels), run(build(prepared, spikes=True), pixels)
    assert set(bare) == {"scores"}
    np.testing.assert_array_equal(bare["scores"], full["scores"])
    assert bare["scores"].dtype == np.float64
    shapes = {name: node.output_type["output"] for name, node in prepared.graph.nodes.items()}
    for name in prepared.populations:
        assert full[name].shape == (len(pixels), 4, *shapes[name])


def test_weights_stand_in_the_file_once(prepared):
    """Whatever the number of time steps, and the kernels of NIR without the zeros outside their groups."""
    model = build(prepared, spikes=True)
    names = [constant.name for constant in model.graph.initializer]
    assert len(set(names)) == len(names)
    kernels = {node.input[1]: node for node in model.graph.node if node.op_type == "Conv"}
    assert len(kernels) == sum(node.op_type == "Conv" for node in model.graph.node)
    held = sum(int(np.prod(c.dims)) for c in model.graph.initializer if c.data_type == onnx.TensorProto.FLOAT)
    weights = sum(t.numel() for t in prepared.checkpoint.model.state_dict().values())
    assert held < 1.3 * weights


def test_what_depends_on_the_image_alone_is_computed_once(prepared):
    model = build(prepared)
    first, second = "stem.layers.0.synapse.conv", "stem.layers.1.synapse.conv"
    for name in (first, second):
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None] * 4))
    found = run(model, images(prepared, 0, 0))
    assert (len(found[first]), len(found[second])) == (3, 4 * 3)


def test_the_metadata_is_that_of_the_graph(prepared, tmp_path):
    path = tmp_path / "model.onnx"
    write(build(prepared), path)
    properties = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    found, expected = (GraphMetadata.of(m, "model").document for m in (properties, prepared.graph.metadata))
    assert found["format"] == "spikeclip-onnx"
    assert set(found["versions"]) == {*expected["versions"], "onnx"}
    changed = ("format", "versions")
    assert {k: v for k, v in found.items() if k not in changed} == {
        k: v for k, v in expected.items() if k not in changed
    }
    assert found["label_names"] == [f"class {i}" for i in range(CLASSES)]


def test_two_exports_are_the_same_bytes(prepared, tmp_path):
    for name in ("a", "b"):
        write(export.to_onnx(prepared.checkpoint, spikes=True), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_without_labels_the_output_is_the_embedding():
    without = checkpoint(published(0), 16)
    without.model.label_names = ()
    found = run(export.to_onnx(without), images(export.prepare(without), 1, 0))
    assert set(found) == {"embedding"}


def test_a_model_that_cannot_be_written_leaves_nothing(prepared, tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(RefusedInput, match="taken"):
        write(build(prepared), tmp_path / "taken")
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


def test_a_model_too_large_for_one_file_is_refused(prepared, monkeypatch):
    monkeypatch.setattr(onnx.checker, "MAXIMUM_PROTOBUF", 1000)
    with pytest.raises(RefusedInput, match=r"GB of weights; an ONNX file takes at most"):
        build(prepared)


def test_a_module_with_the_name_of_the_input_is_refused():
    encoder = Custom(lambda m, x: m.last(m.images(x)), images=conv(3, 8), last=lif())
    with pytest.raises(RefusedInput, match="module 'images' has the name"):
        export.to_onnx(checkpoint(encoder, 8))


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["spike-driven", "paper"])
def test_the_full_size(make_encoder, architecture, tmp_path):
    sizes = {"width": 384, "depth": 4, "heads": 8, "image_size": 32, "embedding_width": 512}
    given_checkpoint = checkpoint(make_encoder(0, architecture=architecture, **sizes), 384)
    whole = export.prepare(given_checkpoint)
    path = tmp_path / "model.onnx"
    write(build(whole), path)
    assert path.stat().st_size < 1.3 * len(save(given_checkpoint.model.state_dict()))
    assert whole.certificate.exact
    assert_recorded(whole, build(whole, spikes=True), images(whole, 1, 0)[:1])
