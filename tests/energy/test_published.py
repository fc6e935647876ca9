"""The published encoder at full size, 384 channels, 8 heads, 4 blocks, T = 4, 32×32: its counts per image, as integers.

The figures were found by brute force over fan-out maps of the published code, apart from anything here.  They don't
depend on the input: the neurons of the trace are silent.
"""

from dataclasses import asdict
from math import prod

import numpy as np
import pytest
import torch

import energy
import export
from neuromorphic.reading.build import from_nir
from spikeclip.checkpoint import Checkpoint
from spikeclip.config import preset
from spikeclip.encoder import SpikeClip
from spikeclip.preprocess import Preprocessing
from tests.energy.test_sops import trace_of

CONFIG = preset("paper-base")


@pytest.fixture(scope="module")
def encoder(make_encoder):
    return make_encoder(0, **asdict(CONFIG))


@pytest.fixture(scope="module")
def graph(encoder):
    """The exported graph; its readout is the encoder's own head of 512 outputs, as in the published code."""
    checkpoint = Checkpoint(SpikeClip(encoder, encoder.head, ()), Preprocessing(image_size=CONFIG.image_size))
    return from_nir(export.prepare(checkpoint).graph)


@pytest.fixture(scope="module")
def counts(graph):
    silent = {p.name: np.zeros((1, CONFIG.time_steps, *p.shape), np.bool_) for p in graph.populations}
    return energy.count(graph, trace_of(graph, **silent))


def test_real_input_macs(counts):
    first, head = counts.layers["stem.layers.0.synapse.conv"], counts.layers["readout"]
    assert (first.macs, head.macs, head.macs_summed) == (4 * 1_327_104, 4 * 196_608, 196_608)
    assert counts.macs == first.macs + head.macs
    # The published head runs once, on the features summed over time; the graph's runs in every step.
    assert counts.macs_summed == 4 * 1_327_104 + 196_608 == 5_505_024
    assert counts.macs_once == 1_327_104 + 4 * 196_608


def test_dense_operations(counts):
    driven = sum(layer.dense_padded for layer in counts.layers.values() if layer.kind in ("conv2d", "linear"))
    # The published order of the products is (Q Kᵀ) V.
    attention = counts.attention.dense_scores_first
    assert driven + counts.macs_summed == 3_686_006_784
    assert attention == 50_331_648
    assert driven + counts.macs_summed + attention == 3_736_338_432
    # Ours is Q (Kᵀ V): 48 channels per head instead of 64 tokens.
    assert sum(layer.attention is not None for layer in counts.layers.values()) == CONFIG.depth
    assert counts.attention.dense == attention * 48 // 64 == 37_748_736


def test_neuron_updates(counts):
    assert counts.neuron_updates == 4_816_896


def test_bias_additions(counts, graph, encoder):
    with_bias = {name: m.bias is not None for name, m in encoder.named_modules() if isinstance(m, torch.nn.Conv2d)}
    outputs = {name: prod(graph.nodes[name].shape) for name in with_bias}
    published = sum(outputs[name] for name, has in with_bias.items() if has)
    assert CONFIG.time_steps * published + encoder.head.out_features == 2_359_808
    # Folding BatchNorm gives every convolution a bias; the head's is added on the host, to the scores.
    assert counts.additions.bias == CONFIG.time_steps * sum(outputs.values()) == 5_406_720


def test_residual_stream_and_pools(counts):
    tokens = CONFIG.width * CONFIG.grid**2
    # Every reader of the stream adds its branches up anew: 2 populations per block, and the readout.
    readers = sum(range(2 * CONFIG.depth + 1))
    assert counts.additions.fan_in == CONFIG.time_steps * readers * tokens
    assert counts.additions.pooling == CONFIG.time_steps * tokens
    # 3×3 windows with padding 1 on maps of even size leave out one row and one column of taps at the border.
    taps = sum(channels * (3 * n // 2 - 1) ** 2 for channels, n in ((192, 32), (384, 16)))
    outputs = sum(channels * (n // 2) ** 2 for channels, n in ((192, 32), (384, 16)))
    assert counts.comparisons == CONFIG.time_steps * (taps - outputs)


KINDS = ("conv2d", "linear", "matmul")


def test_the_twin(counts):
    macs = {kind: sum(layer.macs for layer in counts.ann.layers.values() if layer.kind == kind) for kind in KINDS}
    assert macs["conv2d"] + macs["linear"] == 921_649_152
    assert macs["matmul"] == 12_582_912
    assert counts.ann.macs == 934_232_064
    assert counts.ann.parameters == 9_498_032


def test_parameters(encoder):
    assert sum(p.numel() for p in encoder.parameters()) == 9_513_396
