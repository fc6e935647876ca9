"""`spikeclip.run`: the same trace as the command's, from paths, lists and arrays."""

import nir
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import neuromorphic.cli
import spikeclip
from neuromorphic.errors import RefusedInput
from neuromorphic.ir.trace import Trace
from tests.neuromorphic.graphs import small_net

ONES = np.ones((1, 4, 2, 6, 6), np.float32)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "small.nir"
    nir.write(path, small_net())
    return str(path)


@pytest.fixture
def frames(model):
    shape = nir.read(model).nodes["input"].input_type["input"]
    return np.random.default_rng(0).normal(0.5, 1, (3, *shape)).astype(np.float32)


def commanded(tmp_path, model, frames, *options):
    np.save(tmp_path / "frames.npy", frames)
    arguments = [model, "--frames", str(tmp_path / "frames.npy"), "-o", str(tmp_path / "run.h5"), *options]
    result = CliRunner().invoke(neuromorphic.cli.app, [*arguments, "--backend", "fast"])
    assert result.exit_code == 0, result.output
    return Trace.read(tmp_path / "run.h5")


def test_it_does_in_floats_what_simulate_does(tmp_path, model, frames):
    expected = commanded(tmp_path, model, frames)
    for given in (frames, frames.tolist(), str(tmp_path / "frames.npy"), tmp_path / "frames.npy"):
        assert spikeclip.run(model, given, backend="fast") == expected


def test_it_does_in_integers_what_simulate_does(tmp_path, model, frames):
    calibration = str(tmp_path / "frames.npy")
    expected = commanded(tmp_path, model, frames, "--precision", "loihi2", "--calibrate", calibration)
    found = spikeclip.run(model, frames, precision="loihi2", calibrate=calibration, backend="fast")
    assert found == expected
    assert found.precision == "loihi2"


def test_it_says_what_it_is_quantised_on_where_nothing_is_named(model, frames):
    with pytest.warns(UserWarning, match="quantised on the first 3 of what it runs on"):
        found = spikeclip.run(model, frames, precision="loihi2", backend="fast")
    assert found == spikeclip.run(model, frames, precision="loihi2", calibrate=frames, backend="fast")


def test_a_limit_takes_the_first(model, frames):
    assert spikeclip.run(model, frames, limit=2, backend="fast") == spikeclip.run(model, frames[:2], backend="fast")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "nothing to run on, or two things"),
        ({"frames": [], "images": "samples"}, "nothing to run on, or two things"),
        ({"frames": [0], "backend": "lave"}, r"backend 'lave'; .* did you mean 'lava'\?"),
        ({"frames": [0], "precision": "int8"}, "precision 'int8'; expected one of float, loihi2"),
        (
            {"frames": ONES, "precision": "loihi2", "calibrate": ONES, "granularity": "a"},
            "granularity 'a'; expected one of layer, channel",
        ),
        ({"frames": ONES, "reset": "hard"}, "reset 'hard'; expected one of zero, subtract"),
        ({"frames": ONES, "integrators": "euler"}, "integrators 'euler'; expected one of dt, step"),
        ({"frames": ONES, "dt": "1e-4"}, "dt is '1e-4'; expected seconds"),
        ({"frames": ONES, "timeout": float("nan")}, "timeout is nan; expected seconds above 0"),
        ({"frames": ONES, "time_steps": -1}, "time_steps is -1; expected a whole number above 0"),
        ({"frames": ONES, "limit": 1.5}, "limit is 1.5; expected a whole number above 0"),
        ({"frames": {1: ONES}}, "no input 1; expected input"),
        ({"frames": 3.0}, r"frames are float64 \[\]; expected real numbers"),
        ({"frames": [[1, 2], [3]]}, "frames are list, not an array"),
        ({"frames": torch.ones(1, 4, 2, 6, 6, device="meta")}, "frames are Tensor, not an array"),
        ({"frames": torch.ones(1, 4, 2, 6, 6).to_sparse()}, "frames are Tensor, not an array"),
        ({"frames": [0], "calibrate": [0]}, "calibrate is of the integers"),
        ({"images": "samples"}, "small.nir"),
        # Levels of 16 bits or floats are no 8 bits: https://github.com/Nerogar/mgds/issues/55
        ({"images": np.zeros((1, 6, 6, 2), np.uint16)}, "images are uint16; expected levels of 8 bits"),
        ({"images": np.zeros((1, 6, 6, 2), np.float32)}, "images are float32; expected levels of 8 bits"),
        (
            {"frames": np.ones((1, 4, 2, 6, 6), complex)},
            r"frames are complex128 \[1, 4, 2, 6, 6\]; expected real",
        ),
        ({"frames": np.full((1, 4, 2, 6, 6), 1e39)}, "frames hold values that are not finite"),
    ],
)
def test_what_it_cannot_do_is_refused(model, options, words):
    with pytest.raises(RefusedInput, match=words):
        spikeclip.run(model, **options)


@pytest.mark.parametrize("model", [None, b"small.nir", torch.nn.Identity()])
def test_what_is_no_file_and_no_graph_is_refused(model):
    with pytest.raises(RefusedInput, match=r"model is of type .*; expected a \.nir file, or a graph"):
        spikeclip.run(model, ONES)


def test_tensors_are_taken_whatever_torch_keeps_of_them(model, frames):
    whole = np.rint(frames)
    expected = spikeclip.run(model, whole, backend="fast")
    for tensor in (torch.tensor(whole, requires_grad=True), torch.tensor(whole).bfloat16(), torch.tensor(whole).half()):
        assert spikeclip.run(model, tensor, backend="fast") == expected


def test_it_warns_of_what_it_assumes_and_where_nothing_spikes(tmp_path):
    graph = nir.NIRGraph.from_list(nir.Linear(np.ones((1, 2), np.float32)), nir.IF(np.ones(1), np.ones(1)))
    nir.write(tmp_path / "if.nir", graph)
    with pytest.warns(UserWarning, match="assumed|nothing spiked") as said:
        spikeclip.run(tmp_path / "if.nir", np.ones((1, 5, 2), np.float32), backend="fast")
    words = [str(each.message) for each in said]
    assert any(each.startswith("assumed: ") and "dt" in each for each in words)
    assert words[-1].startswith("nothing spiked in the whole run")
    assert all(each.filename == __file__ for each in said)
