"""A user's module in the commands: exported, simulated and counted in one of them each, by the same options."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

import energy.cli
import export.cli
import neuromorphic.cli
from energy.ann import dense_baseline
from export.frontend.command import prepare_as_in, prepare_published
from neuromorphic.reading.build import from_nir
from neuromorphic.reading.read import read_graph
from spikeclip.errors import RefusedInput
from spikeclip.module_options import ModuleOptions
from tests.export.frontend.grammar import Attention, Drawn
from tests.export.frontend.parity import lively, prepare
from tests.export.frontend.test_loading import NET

SHAPE = ["--input", "3,8,8", "-T", "4"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "mynet.py").write_text(NET)
    (folder / "other.py").write_text(NET.replace("manual_seed(0)", "manual_seed(1)"))
    frames = (np.random.default_rng(0).integers(-128, 128, (5, 3, 8, 8)) / 64).astype(np.float32)
    np.save(folder / "x.npy", frames)
    done = invoke(export, "--module", spec(folder), *SHAPE, "--no-check", "-o", folder / "net.nir")
    assert done.exit_code == 0, done.output
    return folder


def spec(folder, name="mynet"):
    return f"{folder / name}.py:Net"


def invoke(package, *arguments):
    return CliRunner().invoke(package.cli.app, [str(word) for word in arguments])


def options(folder, name="mynet", **said):
    given = {"weights": None, "frame": None, "time_steps": None, "axes": None, "kind": None, "images": 2, **said}
    return ModuleOptions(spec(folder, name), **given)


def test_a_file_of_other_weights_is_refused_by_its_node(folder):
    with pytest.raises(RefusedInput, match=r"node 'conv' has another weight"):
        prepare_as_in(options(folder, "other"), read_graph(folder / "net.nir"))


@pytest.mark.parametrize("said", [{"frame": (3, 9, 9)}, {"time_steps": 5}, {"axes": "TBCHW"}, {"kind": "spikes"}])
def test_options_that_contradict_the_file_are_refused(folder, said):
    with pytest.raises(RefusedInput, match=r"asked for; the file says"):
        prepare_as_in(options(folder, **said), read_graph(folder / "net.nir"))


@pytest.mark.parametrize(
    "option",
    [["--format", "onnx"], ["--standard-nodes"], ["--labels", "x.npz"], ["--heads", "2"], ["--image-size", "8"]],
)
def test_options_of_encoders_are_refused_before_the_module_runs(folder, tmp_path, option):
    out = tmp_path / ("net.onnx" if "onnx" in option else "net.nir")
    done = invoke(export, "--module", spec(folder), *SHAPE, *option, "-o", out)
    assert done.exit_code == 2
    assert f"{option[0]}" in done.output
    assert "expected it without --module" in done.output
    assert "your own Python" not in done.output
    assert not out.exists()


def test_a_module_is_not_written_as_nir_to_a_file_called_onnx(folder, tmp_path):
    done = invoke(export, "--module", spec(folder), *SHAPE, "-o", tmp_path / "net.onnx")
    assert done.exit_code == 2
    assert "--format onnx is of SpikeCLIP's encoders" in " ".join(done.output.split())


def test_a_graph_that_is_of_no_module_is_refused(folder):
    from tests.neuromorphic.graphs import chain, lif

    graph = from_nir(chain({"lif": lif((3, 8, 8))}, (3, 8, 8), (3, 8, 8)))
    with pytest.raises(RefusedInput, match="what its module reads"):
        prepare_as_in(options(folder), graph)


@pytest.mark.parametrize("broken", [3, {}, {"axes": "TBCHW"}, {"axes": [], "kind": "static"}])
def test_a_file_that_says_nothing_sensible_of_its_input_is_refused(folder, broken):
    graph = read_graph(folder / "net.nir")
    document = {**graph.metadata.document, "input": broken}
    with pytest.raises(RefusedInput, match="doesn't say what its module reads"):
        prepare_as_in(options(folder), replace(graph, metadata=replace(graph.metadata, document=document)))


@pytest.mark.parametrize("flag", ["--module", "--check"])
def test_simulate_compares_a_file_with_its_module(folder, flag):
    frames = ("--frames", folder / "x.npy", "--backend", "reference")
    done = invoke(neuromorphic, folder / "net.nir", flag, spec(folder), *frames)
    assert done.exit_code == 0, done.output
    assert "your own Python" in done.output
    assert f"{5 * 4 * 4 * 36:,} spikes compared, 0 mismatches" in done.output


def test_simulate_takes_a_module_without_a_file(folder):
    done = invoke(neuromorphic, "--module", spec(folder), *SHAPE, "--backend", "reference")
    assert done.exit_code == 0, done.output
    assert "4 random inputs" in done.output
    assert f"{4 * 4 * 4 * 36:,} spikes compared, 0 mismatches" in done.output


def test_energy_counts_a_module_without_a_file_as_it_counts_the_file(folder):
    frames = ("--frames", folder / "x.npy")
    written = ("--json", folder / "own.json", "--neurobench", folder / "own-nb.json")
    own = invoke(energy, "--module", spec(folder), *SHAPE, *frames, *written)
    assert own.exit_code == 0, own.output
    assert "none different" in own.output
    assert invoke(energy, folder / "net.nir", *frames, "--json", folder / "file.json").exit_code == 0
    found, expected = (json.loads((folder / name).read_text()) for name in ("own.json", "file.json"))
    assert found["snn"] == expected["snn"]
    assert found["snn"]["sops"] > 0
    # conv: 4 x 36 outputs of 27 taps; head: 4 x 3.
    assert (found["ann"]["baseline"], found["ann"]["macs"]) == ("dense", 5 * (144 * 27 + 12))
    assert json.loads((folder / "own-nb.json").read_text()) == found["neurobench"]
    assert any("your own forward" in note for note in found["notes"])


def test_energy_counts_a_module_in_a_trace_of_it(folder):
    trace = folder / "run.h5"
    frames = ("--frames", folder / "x.npy")
    own = ("--module", spec(folder), *SHAPE)
    assert invoke(neuromorphic, *own, *frames, "--backend", "reference", "-o", trace).exit_code == 0
    assert invoke(energy, *own, "--trace", trace, "--json", folder / "traced.json").exit_code == 0
    assert invoke(energy, *own, *frames, "--json", folder / "own.json").exit_code == 0
    traced, ran = (json.loads((folder / name).read_text())["snn"] for name in ("traced.json", "own.json"))
    assert traced == ran


def test_energy_says_that_inputs_were_random(folder):
    done = invoke(energy, "--module", spec(folder), *SHAPE, "--limit", 2, "--json", folder / "e.json")
    assert done.exit_code == 0, done.output
    assert any("2 random inputs" in line for line in json.loads((folder / "e.json").read_text())["assumed"])


@pytest.mark.parametrize("package", [energy, neuromorphic, export], ids=["energy", "simulate", "export"])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--weights", "w.pth"], "expected --module"),
        (["--module", "SPEC", "--input", "3x8", "-T", "4"], "'3x8'"),
        (["--module", "SPEC", "--input", "3,8,8"], "-T STEPS"),
        (["--module", "nowhere.py:Net", "--input", "3,8,8", "-T", "4"], "nowhere.py"),
        (["--module", "SPEC", "--input", "3,8", "-T", "4"], "expected a shape that it takes (--input, --axes)"),
        ([], "expected a"),
    ],
)
def test_every_command_refuses_what_it_cannot_understand_of_a_module(folder, package, arguments, words, tmp_path):
    words_of = [spec(folder) if word == "SPEC" else word for word in arguments]
    output = ["-o", tmp_path / "net.nir"] if package is export else []
    done = invoke(package, *words_of, *output)
    assert done.exit_code == 2, done.output
    assert words in done.output


class Activated(nn.Module):
    """An activation in the place of neurons."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.relu()


@pytest.mark.parametrize("seed", range(6))
def test_the_anns_macs_are_those_of_the_modules_layers_with_activations_for_neurons(seed):
    net = lively(Drawn(seed), seed)
    net.vote = "mean"  # weights over time have no place in an ANN that is evaluated once
    for part in net.modules():
        if isinstance(part, Attention):  # counted as Q (Kᵀ V)
            part.kind, part.first = part.kind.replace("einsum", "linear"), "kv"
    shape, axes = ((net.steps, 2, 2, 8, 8), "TBCHW") if net.timed else ((2, 2, 8, 8), "BCHW")
    prepared = prepare(net, *shape, time_steps=net.steps, axes=axes, input_kind="spikes" if net.timed else "real")
    twin = prepared.module.float()
    for name, part in list(twin.named_modules()):
        if isinstance(part, neuron.BaseNode) or type(part).__name__ == "Stepping":
            twin.set_submodule(name, Activated())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        twin(torch.zeros(shape))
    per_image_and_step = counter.get_total_flops() // 2 / (2 * net.steps)
    assert dense_baseline(from_nir(prepared.graph), 1).macs == pytest.approx(per_image_and_step)


def test_files_that_are_no_published_network_are_left_to_others(tmp_path):
    torch.save({"weight": torch.ones(1)}, tmp_path / "other.pth")
    for name in ("none.pth", "other.pth"):
        assert prepare_published(tmp_path / name, None, None, None) is None
    (tmp_path / "damaged.pth").write_bytes(b"PK")
    with pytest.raises(RefusedInput, match=r"damaged\.pth"):
        prepare_published(tmp_path / "damaged.pth", None, None, None)
    (tmp_path / "damaged.pth").rename(tmp_path / "paper-small")
    assert prepare_published(tmp_path / "paper-small", None, None, None) is None
