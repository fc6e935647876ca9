"""Other people's readers run an exported file: every spike of every population equals the numpy reference's.

SpikingJelly is a dependency; the others are there after `make readers`, which runs this file with them.
"""

import nir
import numpy as np
import pytest

import export
from benchmarks.readers.networks import READERS, ask, run
from neuromorphic.execution.reference import run as run_reference
from neuromorphic.ir.parity import compare
from neuromorphic.reading.frames import encode
from neuromorphic.reading.read import read_graph
from tests.export.encoders import checkpoint, published

NEEDS = {"snnTorch": "snntorch", "Norse": "norse", "Norse, in order": "norse"}


@pytest.fixture(scope="module")
def path(make_encoder, tmp_path_factory):
    path = tmp_path_factory.mktemp("readers") / "model.nir"
    export.write(export.prepare(checkpoint(make_encoder(2, depth=2), 16)).graph, path)
    return path


@pytest.fixture(scope="module")
def frames(path, photographs):
    return encode(read_graph(path), photographs(16, 4).images)


def answer(reader, path, frames):
    if reader in NEEDS:
        pytest.importorskip(NEEDS[reader], reason=f"{reader} is not installed: make readers")
    return ask(READERS[reader], path, read_graph(path), frames)


@pytest.mark.parametrize("reader", ["SpikingJelly", "snnTorch", "Norse, in order"])
def test_every_spike_agrees(reader, path, frames):
    trace = answer(reader, path, frames)
    assert not isinstance(trace, str), trace
    reference = run_reference(read_graph(path), frames)
    report = compare(trace, reference)
    assert report.exact, report.first_mismatch
    assert report.spikes_compared == 4 * 4 * sum(train.neurons for train in reference.spikes.values())
    np.testing.assert_array_equal(trace.outputs, reference.outputs)
    silent = [name for name, train in reference.spikes.items() if not train.count()]
    assert not silent, "a silent population proves nothing"


def test_norse_as_it_comes_is_out_of_order(path, frames):
    # nirtorch 2.6 visits nodes depth first: whichever branch of Q ∧ K comes second is missing there.
    trace = answer("Norse", path, frames)
    nodes = compare(trace, run_reference(read_graph(path), frames)).nodes
    differing = [name for name, node in nodes.items() if node.mismatches]
    assert differing[0] == "block.0.attn.q_and_k"
    assert not any(nodes[f"block.0.attn.{name}.lif"].mismatches for name in "qkv")


@pytest.mark.parametrize("reader", ["SpikingJelly", "snnTorch", "Norse"])
def test_extension_nodes_are_refused(reader, frames, tmp_path):
    path = tmp_path / "paper.nir"
    export.write(export.prepare(checkpoint(published(2), 16)).graph, path)
    said = answer(reader, path, frames)
    assert isinstance(said, str)
    assert ("KeyError" if reader == "Norse" else "Unknown node type") in said


def test_one_changed_threshold_is_found(path, frames):
    # What the comparison is worth: a neuron that fires half as easily changes spikes behind it too.
    graph, reference = nir.read(path), run_reference(read_graph(path), frames)
    graph.nodes["stem.layers.0.lif"].v_threshold[:] *= 2
    nodes = compare(run(READERS["SpikingJelly"](graph), read_graph(path), frames), reference).nodes
    assert nodes["stem.layers.0.lif"].mismatches
    assert nodes["lif"].mismatches
