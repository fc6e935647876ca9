"""Frames that integers don't hold: what the calibration asks 8 bits to hold is said, and how much was clipped."""

import json

import nir
import numpy as np
import pytest
from typer.testing import CliRunner

import neuromorphic.cli
import neuromorphic.deploy.cli
from tests.neuromorphic.graphs import chain, lif

# Beside the largest scale that is a power of two, 64, 1 leaves room up to 127 / 64.
SPIKES = np.array([[[0, 1, 0]], [[1, 1, 0]]], np.float32)


@pytest.fixture
def folder(tmp_path):
    weight = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)  # no multiples of one number
    graph = chain({"w": nir.Linear(weight), "n": lif((2,), r=4.0)}, (3,), (2,), 1)
    nir.write(tmp_path / "m.nir", graph)
    np.save(tmp_path / "spikes.npy", SPIKES)
    return tmp_path


def invoked(command, *words):
    result = CliRunner().invoke(command, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


@pytest.mark.parametrize(
    ("most", "least", "clipped"), [(127 / 64, -2.0, 0), (127.6 / 64, -2.0, 1), (5.0, -128.6 / 64, 2)]
)
def test_numbers_beyond_the_calibrated_range_are_counted(folder, most, least, clipped):
    frames = SPIKES.copy()
    frames[0, 0, 0], frames[1, 0, 2] = most, least
    np.save(folder / "frames.npy", frames)
    words = [folder / "m.nir", "--frames", folder / "frames.npy", "--backend", "fast", "--precision", "loihi2"]
    words += ["--calibrate", folder / "spikes.npy", "--json", folder / "r.json", "--save-quantized", folder / "q.nir"]
    invoked(neuromorphic.cli.app, *words)
    said = f"{clipped} of 6 numbers of the frames are clipped: 8 bits, as calibrated, hold -2 to 1.984"
    assumed = json.loads((folder / "r.json").read_text())["assumed"]
    assert [line for line in assumed if "clipped" in line] == [said] * bool(clipped)
    deployed = invoked(
        neuromorphic.deploy.cli.app, folder / "q.nir", "--frames", folder / "frames.npy", "-o", folder / "o"
    )
    assert (said in deployed) == bool(clipped)
