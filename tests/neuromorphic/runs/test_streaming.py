"""`spikeclip-simulate` takes images as they pass: what it says, compares and writes is the same whatever the parts."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import neuromorphic.cli
import neuromorphic.ir.trace
from neuromorphic.errors import RefusedInput
from neuromorphic.execution import fast, reference
from neuromorphic.ir.parity import ParityReport, compare
from neuromorphic.ir.totals import Totals
from neuromorphic.ir.trace import SpikeTrain, Trace
from neuromorphic.placement import place
from neuromorphic.reading.build import from_nir
from neuromorphic.reading.frames import encode
from neuromorphic.reading.read import read_graph
from neuromorphic.runs import streaming
from spikeclip.data import load_images
from spikeclip.preprocess import stated_resize
from tests.neuromorphic.graphs import small_net

pytestmark = pytest.mark.usefixtures("prepared_once")

IMAGES = 3


@pytest.fixture
def published(published_files):
    """A small random encoder: its graph, and the arguments that name its checkpoint."""
    return published_files / "a.nir", [str(published_files / "a.pth"), "--heads", "4"]


def simulated(monkeypatch, folder, arguments, size, some=streaming.SOME):
    """What a run says and writes with `size` images to a batch, and `some` frames made at a time."""
    for executor in (fast, reference):
        traces = executor.traces
        monkeypatch.setattr(
            executor, "traces", lambda graph, frames, steps=None, batch=16, *, traces=traces, progress, **_: traces(
                graph, frames, steps, size, progress
            )
        )  # fmt: skip
    monkeypatch.setattr(streaming, "SOME", some)
    folder.mkdir()
    names = {"-o": "run.h5", "--json": "run.json", "--html": "run.html", "--placement": "cores.json"}
    written = [word for option, name in names.items() for word in (option, str(folder / name))]
    done = CliRunner().invoke(neuromorphic.cli.app, [*map(str, arguments), *written])
    monkeypatch.undo()
    assert done.exit_code == 0, done.output
    said = done.stdout.replace(str(folder), "FOLDER")
    return said, {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


@pytest.mark.parametrize(("backend", "precision"), [("reference", "float"), ("fast", "loihi2")])
def test_whatever_the_parts_a_run_says_and_writes_the_same_to_the_bit(
    published, tmp_path, monkeypatch, backend, precision
):
    model, checkpoint = published
    arguments = [model, "--images", "samples", "--limit", IMAGES, "--backend", backend, "--check", *checkpoint]
    if precision == "loihi2":
        arguments += ["--precision", "loihi2", "--calibrate", "samples", "--calibration-images", 2]
    whole = simulated(monkeypatch, tmp_path / "whole", arguments, IMAGES)
    assert "0 mismatches; 3 of 3 predictions agree" in whole[0]
    for size, some in ((1, 2), (2, 256)):
        assert simulated(monkeypatch, tmp_path / str(size), arguments, size, some) == whole

    graph = read_graph(model)
    images = load_images("samples", 32, IMAGES, stated_resize(graph.metadata.preprocessing, graph.source)).images
    found = json.loads(whole[1]["run.json"])
    back = Trace.read(tmp_path / "whole" / "run.h5")
    assert found["spikes"] == {name: train.count() for name, train in back.spikes.items()}
    assert (found["images"], found["frames"]["differ"], found["exact"]) == (IMAGES, 0, True)
    if precision == "float":
        expected = reference.run(graph, encode(graph, images))
        assert compare(back, replace(expected, producer=backend)).exact
        placed = place(graph, trace=expected).to_dict()
        assert json.loads(whole[1]["cores.json"])["measured"] == placed["measured"]


def test_frames_that_are_refused_are_refused_before_anything_runs(tmp_path, monkeypatch):
    graph = from_nir(small_net())
    frames = np.zeros((7, *graph.nodes[graph.input].shape), np.float32)
    frames[6] = np.nan
    monkeypatch.setattr(streaming, "SOME", 2)
    with pytest.raises(RefusedInput, match="not finite"):
        streaming.checked_steps(graph, len(frames), None, frames.__getitem__)


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_parts_of_a_comparison_add_up_to_the_whole(data):
    """Reports, totals and files of any parts of a trace are those of the trace, to the bit, nan and inf included."""
    images = data.draw(st.integers(1, 9))
    edges = sorted({0, images, *data.draw(st.lists(st.integers(1, images), max_size=4))})
    parts = [slice(a, b) for a, b in pairwise(edges)]
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    odd = data.draw(st.sampled_from([0.0, 1.0, np.nan, np.inf]))
    rounding = data.draw(st.sampled_from([0.0, 1e-4, 0.3]))

    def a_trace():
        spikes = {name: SpikeTrain.pack(rng.random((images, 3, n)) < 0.02) for name, n in (("a", 5), ("b", 16))}
        outputs = rng.normal(size=(images, 3, 2)).astype(np.float32)
        membranes = {name: rng.integers(0, 2, (images, *train.shape), np.int32) for name, train in spikes.items()}
        return Trace("fast", "loihi2", spikes, outputs, None, membranes)

    one, other = a_trace(), a_trace()
    one.outputs[rng.integers(images), 0, 0] += odd
    with np.errstate(invalid="ignore"):
        whole = compare(one, other, rounding)
        joined = ParityReport.joined([compare(one.part(part), other.part(part), rounding) for part in parts])
    assert json.dumps(joined.to_dict()) == json.dumps(whole.to_dict())
    totals = Totals.joined([Totals.of(one.part(part), of_neurons=True) for part in parts])
    for name, train in one.spikes.items():
        spikes = train.unpack()
        assert totals.counts[name].spikes == train.count() == spikes.sum()
        np.testing.assert_array_equal(totals.counts[name].per_step, spikes.sum((0, 2)))
        np.testing.assert_array_equal(totals.counts[name].per_neuron, spikes.sum((0, 1)))
    np.testing.assert_array_equal(totals.answers.scores, one.scores)


@pytest.mark.parametrize("cuts", [[1], [3, 30], [16, 32], [15, 17, 18, 36], range(1, 37)])
def test_a_file_is_the_same_to_the_byte_whatever_the_parts_that_it_grew_by(tmp_path, cuts):
    rng = np.random.default_rng(0)
    spikes = {name: SpikeTrain.pack(rng.random((37, 2, n)) < 0.3) for name, n in (("z", 9), ("a", 16))}
    outputs, other = (rng.normal(size=(37, 2, n)).astype(np.float32) for n in (3, 4))
    trace = Trace("fast", "float", spikes, outputs, further={"other": other})
    trace.write(tmp_path / "whole.h5")
    with streaming.growing(tmp_path / "parts.h5") as add:
        for start, stop in zip([0, *cuts], [*cuts, 37], strict=True):
            add(trace.part(slice(start, stop)))
    assert (tmp_path / "parts.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
    np.testing.assert_array_equal(Trace.read(tmp_path / "parts.h5", slice(14, 33)).further["other"], other[14:33])
    with h5py.File(tmp_path / "parts.h5") as file:
        assert file["spikes/z"].chunks[0] == 16


@pytest.mark.parametrize("full", [1, 2])
def test_a_disk_that_fills_up_ends_the_file_and_not_the_run(published, tmp_path, monkeypatch, full):
    """While images pass, or behind the last one: all is computed, said and written but the trace, and exit code 2."""
    calls = []

    def reserve(stored, size):
        calls.append(size)
        if len(calls) == full:
            raise RefusedInput("run.h5: no space left on the device")

    monkeypatch.setattr(neuromorphic.ir.trace, "reserve", reserve)
    monkeypatch.setattr(neuromorphic.ir.trace, "TOGETHER", 5)
    model, checkpoint = published
    out, found = tmp_path / "run.h5", tmp_path / "run.json"
    arguments = ["--images", "samples", "--backend", "fast", "--check", *checkpoint, "-o", out]
    done = CliRunner().invoke(neuromorphic.cli.app, [str(model), *map(str, arguments), "--json", str(found)])
    assert done.exit_code == 2, done.output
    assert "no space left" in done.stderr
    assert "0 mismatches; 8 of 8 predictions agree" in done.stdout
    assert json.loads(found.read_text())["images"] == 8
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.json"]
    assert len(calls) == full
