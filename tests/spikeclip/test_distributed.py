"""Several processes: two of them, started by torchrun, train what one process trains with the same batches."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from spikeclip.distributed import SynchronisedNorm, mean_of_all, processes, rank, share, synchronise
from spikeclip.encoder import Encoder
from spikeclip.errors import RefusedInput
from spikeclip.recipe import Recipe
from spikeclip.training_run import check_batches
from tests.spikeclip import distributed_worker

ROOT = Path(__file__).parents[2]

CHECKPOINTS = ("twin", "classify", "muon", "align", "dual", "quantized")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folders that one process and two have trained in."""
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    distributed_worker.train_all(one, "cpu")
    worker = distributed_worker.__file__
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*torchrun, worker, two, one], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return one, two


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_two_processes_train_what_one_trains(trained, name):
    one, two = (load_file(folder / f"{name}.safetensors") for folder in trained)
    assert one.keys() == two.keys()
    # A key's bias adds the same to all scores of a query: its gradient is nothing but rounding, which Adam scales up.
    compared = [tensor for tensor in one if not tensor.endswith("attn.k.bias")]
    far = {tensor: ~torch.isclose(one[tensor], two[tensor], rtol=1e-4, atol=1e-5) for tensor in compared}
    # Of weights that are rounded to 8 bits, one on the border between two steps can end on either side of it: how many
    # do is a matter of the processor's rounding, from 1 to 4 of some ten thousand.
    borders = sum(one[tensor].numel() for tensor in compared) // 1000 if name == "quantized" else 0
    assert sum(int(found.sum()) for found in far.values()) <= borders, [t for t in compared if far[t].any()]
    for tensor in compared:
        torch.testing.assert_close(one[tensor], two[tensor], rtol=1e-4, atol=2e-3 if borders else 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_the_log_is_the_same_and_written_once(trained, name):
    one, two = (
        [json.loads(line) for line in (folder / f"{name}.safetensors.log.jsonl").read_text().splitlines()]
        for folder in trained
    )
    assert len(one) == len(two)
    for a, b in zip(one, two, strict=True):
        assert a.keys() == b.keys()
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)
        if name == "align":
            assert a["spikes_per_synapse"] == pytest.approx(b["spikes_per_synapse"], rel=1e-3)
    assert not list(trained[1].glob("*.resume"))


@pytest.mark.slow
def test_a_run_of_two_processes_that_was_cut_off_goes_on_to_the_same_bits(trained):
    through, resumed = (load_file(trained[1] / f"{name}.safetensors") for name in ("classify", "resumed"))
    assert all(torch.equal(through[name], resumed[name]) for name in through)
    epochs = [
        json.loads(line)["epoch"] for line in (trained[1] / "resumed.safetensors.log.jsonl").read_text().splitlines()
    ]
    assert epochs == [1, 2]


@pytest.mark.slow
def test_batches_without_equal_shares_are_refused(trained):
    assert (trained[1] / "refusal.txt").read_text() == "batches of 7 examples for 2 processes; expected equal shares"
    assert not (trained[1] / "odd.safetensors").exists()


def test_one_process_has_everything_to_itself():
    assert (processes(), rank(), share(7)) == (1, 0, slice(0, 7))
    check_batches(range(7), Recipe())
    x = torch.ones(3)
    assert mean_of_all(x) is x


@pytest.mark.parametrize("shape", [(6, 5, 4, 4), (2, 6, 5, 4, 4)])
def test_the_synchronised_norm_of_one_process_is_pytorchs(shape):
    torch.manual_seed(0)
    theirs = nn.BatchNorm2d(5).double()
    nn.init.normal_(theirs.weight)
    nn.init.normal_(theirs.bias)
    ours = SynchronisedNorm(5).double()
    ours.load_state_dict(theirs.state_dict())
    x, y = (torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 3 + 2 for _ in "xy")
    x.requires_grad_()
    y.requires_grad_()
    wanted = torch.randn(shape, dtype=torch.float64)
    found, expected = ours(x), theirs(y.flatten(0, -4)).view(shape)
    torch.testing.assert_close(found, expected)
    (found * wanted).sum().backward()
    (expected * wanted).sum().backward()
    torch.testing.assert_close(x.grad, y.grad)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
    torch.testing.assert_close(ours.bias.grad, theirs.bias.grad)
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(y.flatten(0, -4)).view(shape))


def test_synchronising_keeps_every_tensor():
    encoder = Encoder(distributed_worker.CONFIG)
    before = encoder.state_dict(keep_vars=True)
    synchronise(encoder)
    after = encoder.state_dict(keep_vars=True)
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in before)
    assert all(type(m) is SynchronisedNorm for m in encoder.modules() if isinstance(m, nn.BatchNorm2d))


def test_shares_are_equal():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spikeclip.distributed.processes", lambda: 4)
        patch.setattr("spikeclip.distributed.rank", lambda: 2)
        patch.setattr("spikeclip.training_run.processes", lambda: 4)
        assert share(12) == slice(6, 9)
        with pytest.raises(RefusedInput, match="batches of 13 examples for 4 processes"):
            check_batches(range(13), Recipe())
