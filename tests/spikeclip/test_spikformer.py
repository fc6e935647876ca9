import pytest
import torch
from typer.testing import CliRunner

from export.cli import app
from neuromorphic.reading.read import read_graph
from spikeclip.errors import RefusedInput
from spikeclip.published import read_state
from spikeclip.spikformer import Spikformer, load_spikformer

SIZES = {"channels": 3, "width": 16, "depth": 2, "hidden": 32, "classes": 5}


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    net = Spikformer(**SIZES, heads=2, time_steps=4)
    for norm in (m for m in net.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)):
        torch.nn.init.uniform_(norm.bias, -0.1, 0.9)
    state = {f"module.{name}": tensor for name, tensor in net.state_dict().items()}
    # As timm saves it: the published blocks have normalisations that no forward pass calls.
    for i in range(2):
        state |= {f"module.block.{i}.norm{n}.{key}": torch.ones(16) for n in (1, 2) for key in ("weight", "bias")}
    path = tmp_path / "model_best.pth.tar"
    torch.save({"epoch": 3, "state_dict": state}, path)
    return path


def export(*arguments):
    return CliRunner().invoke(app, [str(word) for word in arguments])


def test_a_published_checkpoint_is_exported_by_itself(checkpoint, tmp_path):
    done = export(checkpoint, "--heads", 2, "--image-size", 16, "-T", 3, "-o", tmp_path / "net.nir")
    assert done.exit_code == 0, done.output
    text = " ".join(done.output.split())
    assert "Spikformer, 2 heads, T = 3, 16×16 pixels" in text
    assert "none different" in text
    graph = read_graph(tmp_path / "net.nir")
    assert graph.metadata.time_steps == 3
    assert graph.nodes["block.0.attn.q_lif+block.0.attn.k_lif+block.0.attn.v_lif"].shape == (48, 4, 4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--heads N"),
        (["--heads", "3"], "--heads N, which divides it"),
        (["--heads", "0"], "--heads"),
        (["--heads", "2", "-T", "0"], "-T"),
    ],
)
def test_what_the_tensors_do_not_tell_has_to_be_said(checkpoint, tmp_path, arguments, words):
    done = export(checkpoint, *arguments, "-o", tmp_path / "net.nir")
    assert done.exit_code == 2
    assert words in " ".join(done.output.split())


def test_no_heads_are_refused_in_python_too(checkpoint):
    state, _ = read_state(checkpoint)
    with pytest.raises(RefusedInput, match="expected --heads N, which divides it"):
        load_spikformer(state, checkpoint, 0, 4)


@pytest.mark.parametrize(
    ("name", "tensor", "words"),
    [
        ("block.1.mlp.fc2_bn.weight", None, "block.1.mlp.fc2_bn.weight is missing"),
        ("block.0.attn.proj_linear.weight", torch.ones(3, 3), "has the shape [3, 3], expected [16, 16]"),
        ("extra", torch.ones(1), "extra is unknown"),
        ("patch_embed.rpe_conv.weight", None, "--module FILE.py:FACTORY --weights"),
    ],
)
def test_tensors_of_another_network_are_refused_by_name(checkpoint, tmp_path, name, tensor, words):
    saved = torch.load(checkpoint)
    saved["state_dict"].pop(f"module.{name}", None)
    if tensor is not None:
        saved["state_dict"][f"module.{name}"] = tensor
    torch.save(saved, checkpoint)
    done = export(checkpoint, "--heads", 2, "-o", tmp_path / "net.nir")
    assert done.exit_code == 2
    assert words in " ".join(done.output.split())
