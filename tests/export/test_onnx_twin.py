"""The ANN twin's ONNX model against torch, and its MACs, counted from the shapes of its operators."""

from math import prod

import numpy as np
import onnx
import pytest
import torch

import export
from energy.ann import ann_counts
from export.onnx.twin import twin_to_onnx
from neuromorphic.reading.build import from_nir
from spikeclip.config import SpikeClipConfig
from spikeclip.encoder import Encoder
from spikeclip.errors import RefusedInput
from spikeclip.labels import LabelSet
from spikeclip.preprocess import Preprocessing
from spikeclip.twin import AnnTwin, twin_table
from spikeclip.twin_checkpoint import TwinCheckpoint
from tests.export.encoders import CLASSES, checkpoint
from tests.export.onnx_runs import run

SIZES = {"width": 24, "depth": 2, "heads": 4, "image_size": 12, "embedding_width": 8, "mlp_ratio": 2.5}


def make_twin(seed=0, **changes):
    """A random twin whose normalisations have statistics and parameters of their own."""
    config = SpikeClipConfig(**{**SIZES, **changes})
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = AnnTwin(config)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
            if isinstance(module, torch.nn.BatchNorm2d | torch.nn.LayerNorm):
                module.weight.uniform_(0.5, 2)
                module.bias.normal_()
    natural = Preprocessing(config.image_size, (125.3, 123.0, 113.9), (63.0, 62.1, 66.7))
    return TwinCheckpoint(model.eval().requires_grad_(False), config, natural, ("a", "b"), 10.0, True)


def label_set(n=CLASSES, width=8):
    vectors = np.random.default_rng(0).normal(size=(n, width)).astype(np.float32)
    return LabelSet(tuple(f"class {i}" for i in range(n)), vectors)


def pixels(twin, n=5):
    size = twin.config.image_size
    return np.random.default_rng(1).integers(0, 256, (n, size, size, 3), np.uint8)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"architecture": "paper", "heads": 3},
        {"depth": 1, "heads": 1},
        {"stem_pools": (1, 3), "stem_channels": (4, 6, 8, 5)},
    ],
)
def test_embeddings_are_torchs(changes):
    twin = make_twin(**changes)
    images = pixels(twin)
    with torch.no_grad():
        expected = twin.model(torch.from_numpy(twin.preprocessing(images))).numpy()
    for optimised in (True, False):
        found = run(twin_to_onnx(twin), images, optimised)
        assert set(found) == {"embedding"}
        np.testing.assert_allclose(found["embedding"], expected, rtol=1e-4, atol=1e-5)
    assert expected.std(0).min() > 1e-3, "embeddings that are all the same prove nothing"


@pytest.mark.parametrize("centred", [True, False])
def test_scores_are_the_cosines_times_the_embeddings_length(centred):
    twin = make_twin()
    twin = TwinCheckpoint(twin.model, twin.config, twin.preprocessing, (), 10.0, centred)
    labels, images = label_set(), pixels(twin)
    unit = labels.vectors / np.linalg.norm(labels.vectors, axis=1, keepdims=True)
    if centred:
        unit = unit - unit.mean(0)
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    model = twin_to_onnx(twin, labels)
    embedding = run(twin_to_onnx(twin), images)["embedding"].astype(np.float64)
    np.testing.assert_allclose(run(model, images)["scores"], embedding @ unit.T, rtol=1e-3, atol=1e-5)


def macs(model):
    """Multiply-accumulates per image of every Conv, MatMul and Gemm, by name, from inferred shapes alone."""
    one = onnx.ModelProto()
    one.CopyFrom(model)
    one.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    for output in one.graph.output:
        output.type.tensor_type.shape.dim[0].dim_value = 1
    graph = onnx.shape_inference.infer_shapes(one, check_type=True, strict_mode=True, data_prop=True).graph
    shapes = {value.name: [d.dim_value for d in value.type.tensor_type.shape.dim] for value in graph.value_info}
    shapes |= {value.name: [d.dim_value for d in value.type.tensor_type.shape.dim] for value in graph.output}
    shapes |= {constant.name: list(constant.dims) for constant in graph.initializer}
    counts = {}
    for node in graph.node:
        if node.op_type == "Conv":
            counts[node.name] = prod(shapes[node.output[0]]) * prod(shapes[node.input[1]][1:])
        elif node.op_type in ("MatMul", "Gemm"):
            counts[node.name] = prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
        assert all(prod(shapes[name]) > 0 for name in node.output), node.name
    return counts


@pytest.mark.parametrize("changes", [{}, {"architecture": "paper", "heads": 3, "image_size": 16}, {"width": 16}])
def test_macs_are_those_of_energy(changes):
    """Layer by layer, as `spikeclip-energy` reads them from the table in an encoder's `.nir`."""
    twin = make_twin(**changes)
    counted = macs(twin_to_onnx(twin, label_set()))
    encoder = Encoder(twin.config).eval().requires_grad_(False)
    graph = from_nir(export.prepare(checkpoint(encoder, twin.config.width)).graph)
    layers = ann_counts(graph, images=1).layers
    assert counted == {name: layer.macs for name, layer in layers.items()}


@pytest.mark.slow
def test_macs_of_the_full_size():
    sizes = {"width": 384, "depth": 4, "heads": 8, "image_size": 32, "embedding_width": 512, "mlp_ratio": 4}
    twin = make_twin(**sizes)
    assert macs(twin_to_onnx(twin)) == {layer["name"]: layer["macs"] for layer in twin_table(twin.config)["layers"]}


def test_operators_are_standard_and_the_batch_is_free():
    twin = make_twin()
    model = twin_to_onnx(twin)
    assert {node.domain for node in model.graph.node} == {""}
    assert [opset.domain for opset in model.opset_import] == [""]
    images = pixels(twin)
    whole = run(model, images)["embedding"]
    np.testing.assert_allclose(run(model, images[:1])["embedding"], whole[:1], rtol=1e-4, atol=1e-5)


def test_labels_of_another_width_are_refused():
    with pytest.raises(RefusedInput, match="embeds in 8 dimensions; the label vectors have 9"):
        twin_to_onnx(make_twin(), label_set(width=9))
