"""Runs of small graphs, with a residual path, for pages to show."""

from dataclasses import replace

import nir
import numpy as np

from neuromorphic.execution.reference import run
from neuromorphic.inspection.report import inspect, synapses
from neuromorphic.ir.parity import compare
from neuromorphic.ir.totals import Totals
from neuromorphic.ir.trace import SpikeTrain
from neuromorphic.placement import place
from neuromorphic.reading.build import from_nir
from neuromorphic.runs.content import Run
from tests.neuromorphic.graphs import conv, lif, metadata


def residual_graph(name="block.{}", steps=4):
    """input -> conv -> lif -> conv -> lif, with the first population's spikes added to the second one's currents."""
    rng = np.random.default_rng(0)
    weights = [rng.normal(0, 0.6, shape) for shape in ((3, 2, 3, 3), (3, 3, 3, 3))]
    weights[0][0] = 0
    names = [name.format(part) for part in ("0.conv", "0.lif", "1.conv", "1.lif", "short")]
    nodes = {
        "input": nir.Input(np.array([2, 5, 4])),
        names[0]: conv(weights[0], padding=1, hw=(5, 4)),
        names[1]: lif((3, 5, 4)),
        names[2]: conv(weights[1], padding=1, hw=(5, 4)),
        names[4]: conv(np.eye(3).reshape(3, 3, 1, 1), hw=(5, 4)),
        names[3]: lif((3, 5, 4)),
        "output": nir.Output(np.array([3, 5, 4])),
    }
    edges = [
        *[("input", names[0]), (names[0], names[1]), (names[1], names[2]), (names[1], names[4])],
        *[(names[2], names[3]), (names[4], names[3]), (names[3], "output")],
    ]
    return from_nir(nir.NIRGraph(nodes, edges, metadata=metadata(steps), type_check=False))


def flipped(trace, node, image, step, neuron):
    """The trace with one spike more or less."""
    train = trace.spikes[node]
    spikes = train.unpack().copy()
    spikes.reshape(*spikes.shape[:2], -1)[image, step, neuron] ^= True
    return replace(trace, spikes={**trace.spikes, node: SpikeTrain.pack(spikes)})


def a_run(name="block.{}", words="{}", images=3, steps=4, **more):
    """A run with pictures, compared with itself, and with one that has a spike more or less in image 1, step 2.

    Args:
        name: of the nodes.
        words: of images, classes and sentences, around `{}`.
        images, steps: of the run.
        more: other fields of `Run`.
    """
    rng = np.random.default_rng(1)
    graph = residual_graph(name, steps)
    trace = run(graph, rng.random((images, 2, 5, 4)).astype(np.float32))
    other = flipped(trace, list(trace.spikes)[-1], min(1, images - 1), 2 % steps, 37)
    described = [
        {"file": words.format(i), "label": words.format("cat"), "top5": [{"name": words.format("cat"), "score": 0.5}]}
        for i in range(images)
    ]
    values = {
        "comparisons": {"PyTorch": compare(trace, trace), "floats": compare(trace, other)},
        "images": rng.integers(0, 256, (images, 8, 8, 3), dtype=np.uint8),
        "described": described,
        "accuracy": 1.0,
        "placement": place(graph, trace=trace),
        "said": [words.format("sentence")],
    }
    totals = Totals.of(trace, of_neurons=True)
    return Run(inspect(graph, synapses(graph)), totals, trace, **(values | more))
