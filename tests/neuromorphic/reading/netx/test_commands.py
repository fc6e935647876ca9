"""netx files through the commands."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import energy.cli
import neuromorphic.cli
import neuromorphic.inspection.cli
from neuromorphic.ir.trace import Trace
from tests.neuromorphic.reading.netx.files import NEURON, dense, population, write

draw = np.random.default_rng(1)
FIRST, SECOND = 2 * draw.integers(-20, 21, (9, 12)), 2 * draw.integers(-20, 21, (4, 9))
X = draw.integers(0, 2, (3, 8, 12))


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "n.net", dense(FIRST), dense(SECOND))
    np.save(tmp_path / "x.npy", X.astype(np.float32))
    return tmp_path


def said(app, *arguments, code=0):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.parametrize(
    "more", [[], ["--precision", "loihi2"], ["--precision", "loihi2", "--calibrate", "x.npy"], ["--backend", "fast"]]
)
def test_a_netx_file_is_simulated_in_its_own_integers(folder, more):
    more = [folder / word if word.endswith(".npy") else word for word in more]
    backend = [] if "--backend" in more else ["--backend", "reference"]
    path = folder / "t.h5"
    said(neuromorphic.cli.app, folder / "n.net", "--frames", folder / "x.npy", *backend, *more, "-o", path)
    spikes, _ = population(X @ FIRST.T, NEURON)
    trace = Trace.read(path)
    assert trace.precision == "loihi2"
    assert np.array_equal(trace.spikes["layer.0"].unpack(), spikes)


def test_floats_of_a_netx_file_are_refused(folder):
    shown = ["--frames", folder / "x.npy", "--precision", "float"]
    assert "holds the integers of the chip" in said(neuromorphic.cli.app, folder / "n.net", *shown, code=2)


def test_a_netx_file_is_inspected(folder):
    found = said(neuromorphic.inspection.cli.app, folder / "n.net", "--json", folder / "i.json")
    assert "loihi2: the file holds the chip's integers" in found
    assert json.loads((folder / "i.json").read_text())["precision"] == "loihi2"


def test_the_synaptic_operations_of_a_netx_file_are_counted(folder):
    shown = ["--frames", folder / "x.npy", "--input-kind", "spikes", "--json", folder / "e.json"]
    said(energy.cli.app, folder / "n.net", *shown)
    spikes, _ = population(X @ FIRST.T, NEURON)
    counted = json.loads((folder / "e.json").read_text())["snn"]["sops"]
    assert counted == 9 * X.sum() + 4 * spikes.sum()
