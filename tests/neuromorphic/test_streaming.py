"""`spikeclip-simulate` takes images as they pass: what it says, compares and writes is that of all of them at once."""

import json

import numpy as np
import torch
from typer.testing import CliRunner

import export.cli
import neuromorphic.cli
from neuromorphic.execution import reference
from neuromorphic.ir.trace import Trace
from neuromorphic.reading.frames import encode
from neuromorphic.reading.read import read_graph
from spikeclip.data import load_images
from spikeclip.preprocess import stated_resize
from tests.spikeclip.published import random_state


def test_images_that_pass_in_parts_are_compared_counted_and_written_as_a_whole(tmp_path, monkeypatch):
    traces = reference.traces

    def in_threes(graph, frames, time_steps=None, batch=16, progress=lambda done, total: None):
        return traces(graph, frames, time_steps, 3, progress)

    model, trace, report = tmp_path / "a.nir", tmp_path / "run.h5", tmp_path / "a.json"
    published = [str(tmp_path / "a.pth"), "--heads", "4"]
    torch.save({"state_dict": random_state(16, 1, 64, embedding=8)}, tmp_path / "a.pth")
    exported = CliRunner().invoke(export.cli.app, [*published, "-o", str(model)])
    assert exported.exit_code == 0, exported.output
    monkeypatch.setattr(reference, "traces", in_threes)
    written = ["-o", str(trace), "--json", str(report)]
    run = ["--images", "samples", "--limit", "5", "--backend", "reference", "--check", *published]
    said = CliRunner().invoke(neuromorphic.cli.app, [str(model), *run, *written])
    assert said.exit_code == 0, said.output
    assert "0 mismatches; 5 of 5 predictions agree" in said.output

    graph = read_graph(model)
    images = load_images("samples", 32, 5, stated_resize(graph.metadata.preprocessing, graph.source)).images
    expected = reference.run(graph, encode(graph, images))
    found = json.loads(report.read_text())
    assert found["images"] == 5
    assert found["spikes"] == {name: train.count() for name, train in expected.spikes.items()}
    assert found["nodes"].keys() == expected.spikes.keys()
    back = Trace.read(trace)
    np.testing.assert_array_equal(back.outputs, expected.outputs)
    for name, train in expected.spikes.items():
        np.testing.assert_array_equal(back.spikes[name].bits, train.bits)
