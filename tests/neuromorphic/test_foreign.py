"""Graphs that other libraries wrote (`tests/data/foreign/write.py`), against what these libraries answer themselves."""

import json
from pathlib import Path

import nir
import numpy as np
import pytest
from typer.testing import CliRunner

from neuromorphic.cli import app
from neuromorphic.read import read_graph
from neuromorphic.reference import run
from tests.neuromorphic.graphs import chain, lif
from tests.properties import channels

FOLDER = Path(__file__).parent.parent / "data" / "foreign"
NORSE_DT = 1e-6
"""Norse 1.1.0 writes tau = dt / tau_mem_inv, with its dt of 1e-3 s, where 1 / tau_mem_inv is meant."""

FILES = sorted(path.stem for path in FOLDER.glob("*.nir"))


def load(name):
    kept = np.load(FOLDER / f"{name}.npz")
    return read_graph(FOLDER / f"{name}.nir", NORSE_DT if "norse" in name else None), kept["frames"], kept["outputs"]


@pytest.mark.parametrize("name", FILES)
def test_it_answers_as_the_library_that_wrote_it(name):
    graph, frames, expected = load(name)
    outputs = run(graph, frames).outputs
    if name == "norse_lif_li":  # membranes, of which Norse computes the decay in float32
        np.testing.assert_allclose(outputs, expected, rtol=0, atol=2e-7)
    else:
        np.testing.assert_array_equal(outputs, expected)
    assert expected.any()


@pytest.mark.parametrize("name", FILES)
def test_its_layers_answer_as_the_reference(name):
    graph, frames, _ = load(name)
    trace = run(graph, frames)
    spikes, output = channels.run(graph, frames)
    for population, train in trace.spikes.items():
        assert 0 < train.count() < train.bits.size * 8
        np.testing.assert_array_equal(spikes[population], train.unpack(), err_msg=population)
    np.testing.assert_array_equal(output.astype(np.float32), trace.outputs)


def test_there_is_a_file_of_every_library_and_a_recurrent_one():
    assert {name.split("_")[0] for name in FILES} == {"norse", "snntorch", "spikingjelly", "nirtorch"}
    assert load("snntorch_recurrent")[0].recurrent == {("n1.lif", "n1.w_rec")}


def simulated(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_runs_frames_in_lava(tmp_path):
    frames, expected = (np.load(FOLDER / "snntorch_recurrent.npz")[key] for key in ("frames", "outputs"))
    np.save(tmp_path / "frames.npy", frames)
    said = simulated(
        FOLDER / "snntorch_recurrent.nir", "--frames", tmp_path / "frames.npy", "--json", tmp_path / "out.json"
    )
    assert said.exit_code == 0, said.output
    assert "dt is taken to be 0.0001 s" in said.output
    assert "recurrent, one time step late: n1.lif -> n1.w_rec" in said.output
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["predictions"] == expected.sum(1).argmax(1).tolist()
    assert found["spikes"]["n2"] == expected.sum()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "either --images SPEC or --frames FILE.npy"),
        (["--images", "samples", "--frames", "x.npy"], "either --images SPEC or --frames FILE.npy"),
        (["--images", "samples"], "expected square images"),
        (["--frames", "missing.npy"], "missing.npy: not a readable .npy array"),
        (["--frames", "wrong.npy"], "wrong.npy: frames have the shape [4, 8, 5]"),
        (["--frames", "text.npy"], "text.npy: holds no array of numbers"),
        (["--frames", "nan.npy"], "nan.npy: frames hold values that are not finite"),
        (["--frames", "single.npy"], "how many time steps"),
        (["--frames", "right.npy", "--time-steps", "7"], "7 time steps asked for; there are frames for 8"),
        (["--frames", "right.npy", "--dt", "0"], "dt is 0.0 s; expected a finite number of at least 1e-09"),
        (["--frames", "right.npy", "--dt", "1e-3"], "node 'n1.lif': tau"),
        (["--frames", "right.npy", "--precision", "loihi2"], "take images"),
    ],
)
def test_the_command_refuses_in_a_sentence(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    right = np.zeros((4, 8, 6), np.float32)
    np.save("right.npy", right)
    np.save("single.npy", right[:, 0])
    np.save("wrong.npy", right[..., :5])
    np.save("nan.npy", right + np.nan)
    np.save("text.npy", np.array(["a"]))
    said = simulated(FOLDER / "snntorch_recurrent.nir", *arguments)
    assert said.exit_code == 2
    assert message in said.output
    assert said.output.count("\n") == 1


def test_outputs_that_are_no_classes_have_no_predictions(tmp_path):
    shape = (2, 3)
    nir.write(tmp_path / "map.nir", chain({"lif": lif(shape)}, shape, shape))
    np.save(tmp_path / "frames.npy", np.ones((2, *shape), np.float32))
    said = simulated(
        tmp_path / "map.nir",
        "--frames",
        tmp_path / "frames.npy",
        "--backend",
        "reference",
        "--json",
        tmp_path / "o.json",
    )
    assert said.exit_code == 0, said.output
    assert json.loads((tmp_path / "o.json").read_text())["predictions"] is None
