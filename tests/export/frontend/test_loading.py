import importlib
import sys

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from export.cli import app
from export.frontend.loading import load_module
from neuromorphic.reading.read import read_graph
from spikeclip.errors import RefusedInput

NET = """
import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.lif, self.head = layer.Conv2d(3, 4, 3), neuron.LIFNode(), nn.Linear(4, 3)

    def forward(self, x):
        return sum(self.head(self.lif(4 * self.conv(x)).mean((2, 3))) for _ in range(4)) / 4


def number():
    return 3


def broken():
    raise ValueError("no data here")
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mynet.py"
    path.write_text(NET)
    return path


def test_a_factory_of_a_file(file):
    assert type(load_module(f"{file}:Net")).__name__ == "Net"


def test_a_factory_of_a_package():
    assert isinstance(load_module("torch.nn:Identity"), torch.nn.Identity)


@pytest.mark.parametrize("name", ["energy", "json", "neuromorphic"])
def test_a_file_named_like_another_module_does_not_stand_for_it(file, name):
    own, known = file.rename(file.with_name(f"{name}.py")), importlib.import_module(name)
    assert type(load_module(f"{own}:Net")).__name__ == "Net"
    assert importlib.import_module(name) is known
    sys.modules.pop(f"user_{name}")


@pytest.mark.parametrize("inside", [None, "state_dict", "model", "snn"])
def test_weights_of_torch_save_within_a_checkpoint_or_by_themselves(file, tmp_path, inside):
    state = {name: torch.full_like(value, 0.5) for name, value in load_module(f"{file}:Net").state_dict().items()}
    torch.save(state if inside is None else {inside: state, "epoch": 3}, tmp_path / "weights.pth")
    loaded = load_module(f"{file}:Net", tmp_path / "weights.pth")
    assert all((value == 0.5).all() for value in loaded.state_dict().values())


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize("write", [torch.save, save_file])
def test_weights_that_a_wrapper_saved(file, tmp_path, prefix, write):
    state = load_module(f"{file}:Net").state_dict()
    path = tmp_path / f"weights.{'pth' if write is torch.save else 'safetensors'}"
    write({prefix + name: value + 1 for name, value in state.items()}, path)
    assert torch.equal(load_module(f"{file}:Net", path).head.bias, state["head.bias"] + 1)


def test_a_checkpoint_of_two_unknown_sets_of_weights_is_refused(file, tmp_path):
    state = load_module(f"{file}:Net").state_dict()
    torch.save({"teacher": state, "student": state}, tmp_path / "weights.pth")
    with pytest.raises(RefusedInput, match="holds no state_dict"):
        load_module(f"{file}:Net", tmp_path / "weights.pth")


def test_weights_of_safetensors(file, tmp_path):
    state = load_module(f"{file}:Net").state_dict()
    save_file({name: value + 1 for name, value in state.items()}, tmp_path / "weights.safetensors")
    loaded = load_module(f"{file}:Net", tmp_path / "weights.safetensors")
    assert torch.equal(loaded.head.bias, state["head.bias"] + 1)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Missing", "no function or class 'Missing'"),
        ("number", "returns int"),
        ("broken", "ValueError: no data here"),
        ("", "names no factory"),
    ],
)
def test_what_is_no_factory_is_refused(file, name, words):
    with pytest.raises(RefusedInput, match=words):
        load_module(f"{file}:{name}")


def test_weights_of_another_module_are_refused(file, tmp_path):
    torch.save({"conv.weight": torch.zeros(4, 3, 3, 3), "other": torch.zeros(1)}, tmp_path / "weights.pth")
    with pytest.raises(RefusedInput, match=r"missing \('.*not in the module \('other'"):
        load_module(f"{file}:Net", tmp_path / "weights.pth")


def test_the_command_exports_a_users_network_and_compares_every_spike(file, tmp_path):
    out, document = tmp_path / "net.nir", tmp_path / "net.json"
    arguments = ["--module", f"{file}:Net", "--input", "3,8,8", "-T", "4", "-o", str(out), "--json", str(document)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "your own Python" in done.output
    assert "none different" in done.output.replace("\n", " ").replace("  ", "")
    assert '"exact": true' in document.read_text()
    assert read_graph(out).metadata.time_steps == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-T", "4"], "--input C,H,W"),
        (["-T", "4", "--input", "3x8x8"], "3x8x8"),
        (["-T", "4", "--input", "3,8,8", "--input-kind", "sound"], "sound"),
        (["-T", "4", "--input", "3,8,8", "--axes", "CHW"], "one B"),
    ],
)
def test_the_command_refuses_an_input_that_it_does_not_understand(file, tmp_path, arguments, words):
    done = CliRunner().invoke(app, ["--module", f"{file}:Net", "-o", str(tmp_path / "net.nir"), *arguments])
    assert done.exit_code == 2
    assert words in done.output
    assert not (tmp_path / "net.nir").exists()


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_weights_that_do_not_fit_or_cannot_be_read_are_refused(file, tmp_path, suffix):
    path = tmp_path / f"weights.{suffix}"
    path.write_bytes(b"no tensors")
    with pytest.raises(RefusedInput, match=r"weights.*read"):
        load_module(f"{file}:Net", path)
    state = {**load_module(f"{file}:Net").state_dict(), "conv.weight": torch.zeros(4, 3, 5, 5)}
    save_file(state, path) if suffix == "safetensors" else torch.save(state, path)
    with pytest.raises(RefusedInput, match=r"size mismatch for conv.weight"):
        load_module(f"{file}:Net", path)
