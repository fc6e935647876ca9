"""Cores per layer that Intel's compiler printed for public networks; their shapes only, every weight 0.5.

All logs are outputs of notebooks in lava-nc/lava-dl, commit d825ac5, tutorials/lava/lib/dl/netx.
"""

import nir
import numpy as np
import pytest

from neuromorphic.placement import Limits, place
from neuromorphic.reading.build import from_nir
from tests.neuromorphic.graphs import chain, lif

# Channels, kernel, stride and padding of convolutions; neurons of matrices; the log's cores, which ours shall be.
PILOTNET = [
    ((24, 3, (2, 2), (0, 0)), 25),
    ((36, 3, (2, 2), (0, 0)), 13),
    ((48, 3, (2, 2), (0, 0)), 3),
    ((64, 3, (2, 1), (1, 0)), 3),
    ((64, 3, (1, 1), (0, 0)), 2),
    (100, 12),
    (50, 1),
    (10, 1),
    (1, 1),
]
YOLO_KP = [
    ((16, 3, (2, 2), (1, 1)), 224),
    ((32, 3, (2, 2), (1, 1)), 112),
    ((64, 3, (2, 2), (1, 1)), 56),
    ((128, 3, (2, 2), (1, 1)), 28),
    ((256, 3, (1, 1), (1, 1)), 56),
    ((256, 3, (2, 2), (1, 1)), 16),
    ((512, 3, (1, 1), (1, 1)), 32),
    ((256, 1, (1, 1), (0, 0)), 14),
    ((512, 3, (1, 1), (1, 1)), 32),
    ((48, 1, (1, 1), (0, 0)), 4),
]
LOGS = {
    "pilotnet_snn/benchmark.ipynb": ((3, 66, 200), PILOTNET),
    "oxford/run.ipynb": ((200,), [(256, 3), (200, 2)]),
    "mnist/run.ipynb": ((784,), [(128, 3), (64, 1), (10, 1)]),
    "yolo_kp/run.ipynb": ((3, 448, 448), YOLO_KP),
}


def network(frame, layers):
    """A chain of these layers, LIF neurons behind each."""
    nodes, shape = {}, frame
    for index, layer in enumerate(layers):
        if isinstance(layer, int):
            if len(shape) > 1:
                nodes["flat"] = nir.Flatten({"input": np.array(shape)}, 0, -1)
            nodes[f"w{index}"] = nir.Linear(np.full((layer, int(np.prod(shape))), 0.5, np.float32))
            shape = (layer,)
        else:
            channels, kernel, stride, padding = layer
            weight = np.full((channels, shape[0], kernel, kernel), 0.5, np.float32)
            nodes[f"w{index}"] = nir.Conv2d(
                shape[1:], weight, stride, padding, (1, 1), 1, np.zeros(channels, np.float32)
            )
            sizes = zip(shape[1:], padding, stride, strict=True)
            shape = (channels, *((n + 2 * p - kernel) // s + 1 for n, p, s in sizes))
        nodes[f"n{index}"] = lif(shape)
    return from_nir(chain(nodes, frame, shape))


def cores(log, limits=None):
    frame, layers = LOGS[log]
    placed = place(network(frame, [layer for layer, _ in layers]), limits).placed
    return [entry.cut.blocks for entry in placed]


@pytest.mark.parametrize("log", [*list(LOGS)[:3], pytest.param("yolo_kp/run.ipynb", marks=pytest.mark.slow)])
def test_every_layer_takes_as_many_cores_as_intels_compiler_gave_it(log):
    assert cores(log) == [found for _, found in LOGS[log][1]]


def test_pilotnets_blocks_are_intels():
    """Its log names them: Conv(4, 32, 24), (4, 15, 36), (8, 7, 48), (8, 4, 64): columns, rows, channels."""
    frame, layers = LOGS["pilotnet_snn/benchmark.ipynb"]
    placed = place(network(frame, [layer for layer, _ in layers])).placed
    blocks = [
        tuple(int(np.diff(edges).max()) for edges in (entry.cut.columns, entry.cut.rows, entry.cut.channels))
        for entry in placed[:4]
    ]
    assert blocks == [(4, 32, 24), (4, 15, 36), (8, 7, 48), (8, 4, 64)]


def test_memory_of_synapses_is_the_logs_word_by_word():
    """With the budget that a log prints and the bits that its weights have, from the networks' own files."""
    words = 8

    def taken(log, layer, limits):
        frame, layers = LOGS[log]
        placed = place(network(frame, [one for one, _ in layers]), limits).placed
        return (placed[layer].demand.weights // words).reshape(-1).tolist()

    printed = Limits(synaptic_memory=12_000 * words)
    assert taken("oxford/run.ipynb", 0, printed) == [200 * 40, 200 * 40, 200 * 1]  # 5,400 on average
    assert taken("oxford/run.ipynb", 1, printed) == [256 * 40, 256 * 23]  # 8,064 on average
    three = Limits(synaptic_memory=12_000 * words, weight_bits=3)
    assert taken("pilotnet_snn/benchmark.ipynb", 5, three) == [2560 * 3] * 11 + [2560]  # 7,253 on average
    percent = Limits(synaptic_memory=16_000 * words)
    assert taken("mnist/run.ipynb", 0, percent)[0] == 0.784 * 16_000
    assert taken("mnist/run.ipynb", 1, percent) == [0.168 * 16_000]
    assert taken("mnist/run.ipynb", 2, percent) == [0.016 * 16_000]


def test_memory_of_a_core_is_the_logs_total():
    """67.14 %, 14.72 % and 1.71 % of 20,000 words; for us nobody hears the last layer's ten neurons."""
    frame, layers = LOGS["mnist/run.ipynb"]
    limits = Limits(synaptic_memory=16_000 * 8)
    found = place(network(frame, [layer for layer, _ in layers]), limits)
    first, *_, second, third = found.cores
    assert [core.memory / limits.memory for core in (first, second, third)] == pytest.approx(
        [0.6714, 0.1472, 0.0171], abs=1e-3
    )
