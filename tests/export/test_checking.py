import numpy as np

from export.checking import torch_runner
from neuromorphic.execution.reference import run
from neuromorphic.ir.parity import compare
from neuromorphic.reading.build import from_nir
from tests.export.encoders import prepare_shipped


def test_the_trace_of_a_shipped_checkpoint_equals_its_graphs():
    prepared = prepare_shipped("spike-driven-small")
    graph = from_nir(prepared.graph)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    x = prepared.encode(images)
    pytorch = torch_runner("spike-driven-small", graph, graph)
    trace = run(graph, x)
    assert compare(trace, pytorch.run(x)).exact
    assert compare(trace.part(slice(1, 2)), pytorch.run(x[1:], images[1:])).exact
    compared = pytorch.compare_frames(x, images)
    assert (compared.compared, compared.differ) == (x.size, 0)
