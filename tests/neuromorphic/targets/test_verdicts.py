"""A verdict for each target: faithful, approximate with the disagreement, or refused with all reasons."""

import json
from dataclasses import replace

import nir
import numpy as np
import pytest
from typer.testing import CliRunner

import neuromorphic.inspection.cli
import neuromorphic.targets.verdicts
from export.onnx.integers.supported import refusals as no_onnx
from neuromorphic.deploy import MISSING
from neuromorphic.execution.reference import run
from neuromorphic.loihi2.file import write_quantised
from neuromorphic.loihi2.integers import graded, integers
from neuromorphic.loihi2.quantise import calibrate, with_scheme
from neuromorphic.reading.build import from_nir
from neuromorphic.reading.read import read_graph
from neuromorphic.targets.verdicts import verdicts
from tests.neuromorphic.graphs import attention, chain, conv, lif, small_net

FRAMES = np.random.default_rng(0).normal(size=(3, 2, 6, 6)).astype(np.float32)


def judged(graph, exact=False, frames=None):
    return {verdict.target: verdict for verdict in verdicts(graph, exact, frames, {"onnx": no_onnx})}


def test_a_proven_graph_is_faithful_wherever_floats_run():
    found = judged(from_nir(small_net()), exact=True)
    assert [found[name].kind for name in ("reference", "fast", "lava")] == ["faithful"] * 3
    assert [found[name].kind for name in ("loihi2", "lava stock", "onnx")] == ["approximate"] * 3
    assert all("measure with --images or --frames" in str(found[name]) for name in ("loihi2", "lava stock", "onnx"))


def test_an_unproven_graph_says_how_to_measure_it_and_is_measured():
    graph = from_nir(small_net())
    assert str(judged(graph)["fast"]).endswith("not proven otherwise; measure with --images or --frames")
    found = judged(graph, frames=FRAMES)["fast"]
    assert (found.kind, found.disagreement.images) == ("approximate", 3)
    assert found.disagreement.spikes == 3 * 4 * (144 + 36)


def test_the_integers_disagreement_is_counted_spike_by_spike():
    graph = from_nir(small_net())
    found = judged(graph, exact=True, frames=FRAMES)
    floats, scheme = calibrate(graph, FRAMES)
    whole = integers(with_scheme(floats, scheme), scheme)
    mine, theirs = run(graph, FRAMES), run(whole, graded(whole, FRAMES))
    different = sum((mine.spikes[n].unpack() != theirs.spikes[n].unpack()).sum() for n in mine.spikes)
    assert found["loihi2"].disagreement.different == different
    assert found["onnx"].disagreement == found["loihi2"].disagreement
    assert found["onnx"].kind == "approximate"
    assert f"of {3 * 4 * 180:,} spikes differ, on 3 images" in str(found["loihi2"])


def test_without_scipy_a_folder_is_refused_and_nothing_else(monkeypatch):
    graph = from_nir(small_net())
    floats, scheme = calibrate(graph, FRAMES)
    whole = integers(with_scheme(floats, scheme), scheme)
    monkeypatch.setattr(neuromorphic.targets.verdicts, "find_spec", lambda name: None)
    found = judged(whole)
    assert (found["deploy"].kind, found["deploy"].reasons) == ("refused", (MISSING,))
    assert {verdict.kind for name, verdict in found.items() if name != "deploy"} == {"faithful", "approximate"}


def test_a_refusal_names_every_node():
    graph = from_nir(chain({name: lif((2,), r=-1.0) for name in ("x", "y")}, (2,), (2,)))
    refused = judged(graph, frames=np.ones((1, 2), np.float32))["loihi2"]
    assert refused.kind == "refused"
    assert {name for name in "xy" if any(f"node {name!r}" in reason for reason in refused.reasons)} == {"x", "y"}


def test_without_neurons_that_spike_all_that_reads_integers_refuses():
    graph = from_nir(chain({"w": nir.Linear(np.ones((2, 2), np.float32))}, (2,), (2,)))
    found = judged(graph)
    assert "no neurons that spike" in str(found["loihi2"])
    assert {found[name].kind for name in ("loihi2", "lava stock", "onnx")} == {"refused"}


def test_lavas_own_processes_are_asked_about_the_integers_themselves():
    nodes = {"c": conv(np.ones((6, 1, 1, 1)), hw=(2, 2)), "qkv": lif((6, 2, 2)), "a": attention((6, 2, 2))}
    graph = from_nir(chain(nodes | {"out": lif((2, 2, 2))}, (1, 2, 2), (2, 2, 2)))
    found = judged(graph, frames=np.ones((2, 1, 2, 2), np.float32))
    assert found["lava stock"].kind in ("approximate", "refused")
    assert found["onnx"].kind == "approximate"


@pytest.fixture
def quantised(tmp_path):
    nir.write(tmp_path / "m.nir", small_net())
    graph = read_graph(tmp_path / "m.nir")
    floats, scheme = calibrate(graph, FRAMES)
    write_quantised(tmp_path / "m.nir", floats, scheme, tmp_path / "q.nir")
    return tmp_path / "q.nir"


def test_a_quantised_file_is_faithful_in_its_integers(quantised):
    found = judged(read_graph(quantised))
    assert [found[name].kind for name in ("loihi2", "onnx")] == ["faithful", "faithful"]


def test_the_command_says_it_on_the_console_and_in_json(tmp_path):
    nir.write(tmp_path / "m.nir", small_net())
    np.save(tmp_path / "x.npy", FRAMES)
    arguments = [tmp_path / "m.nir", "--frames", tmp_path / "x.npy", "--limit", 2, "--json", tmp_path / "m.json"]
    said = CliRunner().invoke(neuromorphic.inspection.cli.app, [str(a) for a in arguments])
    assert said.exit_code == 0, said.output
    assert "targets      reference: faithful: it is the definition" in said.output
    targets = {each["target"]: each for each in json.loads((tmp_path / "m.json").read_text())["targets"]}
    assert list(targets) == ["reference", "fast", "lava", "loihi2", "lava stock", "deploy", "onnx integers"]
    assert targets["loihi2"]["disagreement"]["images"] == 2
    assert targets["reference"] == {"target": "reference", "kind": "faithful", "reasons": ["it is the definition"],
                                    "disagreement": None}  # fmt: skip


def test_a_graph_of_unknown_length_is_measured_by_its_frames():
    graph = from_nir(small_net())
    unsaid = replace(graph, metadata=replace(graph.metadata, time_steps=None))
    frames = np.repeat(FRAMES[:, None], 3, axis=1)
    timed = replace(unsaid, metadata=replace(unsaid.metadata, time_steps=3))
    assert judged(timed, frames=frames)["loihi2"].disagreement.spikes == 3 * 3 * 180
