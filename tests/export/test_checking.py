import numpy as np
import pytest
from typer.testing import CliRunner

from export.checking import check_module, torch_trace
from export.cli import app
from neuromorphic.execution.reference import run
from neuromorphic.ir.parity import compare
from neuromorphic.reading.build import from_nir
from neuromorphic.reading.read import read_graph
from spikeclip.errors import RefusedInput
from tests.export.frontend.test_loading import NET


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "mynet.py").write_text(NET)
    (folder / "other.py").write_text(NET.replace("manual_seed(0)", "manual_seed(1)"))
    arguments = ["--module", f"{folder / 'mynet.py'}:Net", "--input", "3,8,8", "-T", "4", "--no-check"]
    assert CliRunner().invoke(app, [*arguments, "-o", str(folder / "net.nir")]).exit_code == 0
    return folder


def frames():
    return (np.random.default_rng(0).integers(-128, 128, (5, 3, 8, 8)) / 64).astype(np.float32)


def test_a_file_is_checked_against_the_module_that_it_was_made_of(exported):
    graph = read_graph(exported / "net.nir")
    found = check_module(f"{exported / 'mynet.py'}:Net", None, graph, run(graph, frames()), frames())
    assert found.exact
    assert found.spikes_compared == 5 * 4 * 4 * 36


def test_a_file_of_other_weights_is_refused_by_its_node(exported):
    graph = read_graph(exported / "net.nir")
    with pytest.raises(RefusedInput, match=r"node 'conv' has another weight"):
        check_module(f"{exported / 'other.py'}:Net", None, graph, run(graph, frames()), frames())


def test_a_checkpoint_of_ours_is_no_module(prepared):
    graph = from_nir(prepared.graph)
    x = np.zeros((1, 3, 32, 32), np.float32)
    with pytest.raises(RefusedInput, match="what its module reads"):
        check_module("mynet.py:Net", None, graph, run(graph, x), x)


@pytest.fixture(scope="module")
def prepared():
    import export
    import spikeclip

    return export.prepare(spikeclip.load("spike-driven-small"))


def test_the_trace_of_a_shipped_checkpoint_equals_its_graphs(prepared):
    graph = from_nir(prepared.graph)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    x = prepared.encode(images)
    expected, compared = torch_trace("spike-driven-small", graph, graph, x)
    assert compare(run(graph, x), expected).exact
    assert compared is None
