"""The margin of a run against exact fractions: where no proof covers every input."""

import json
from fractions import Fraction

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import nn
from typer.testing import CliRunner

from export.cli import app
from export.frontend.margin import ROUNDED, ROUNDING, errors_of, margins
from export.frontend.populations import decay_of
from tests.export.frontend.parity import prepare

STEPS = 12


class Leaky(nn.Module):
    """Neurons with a tau of 3 behind a matrix, one step at a time: 53 bits are too few for 12 steps."""

    def __init__(self, threshold: float = 0.4) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.fc, self.lif = nn.Linear(6, 5), neuron.LIFNode(tau=3.0, v_threshold=threshold)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([self.lif(self.fc(step)) for step in x])


def own(net):
    return prepare(net, STEPS, 2, 6, time_steps=STEPS, axes="TBF", input_kind="real")


def exact_nearest(prepared, frames):
    """The least |v - threshold| in fractions, with the numbers of the graph."""
    fc, lif = prepared.graph.nodes["fc"], prepared.graph.nodes["lif"]
    weight = [[Fraction(float(w)) for w in row] for row in fc.weight]
    decay, gain = Fraction(decay_of(lif.tau)), Fraction(float(lif.r[0]))
    found = []
    for image in frames:
        v = [Fraction(0)] * len(weight)
        for frame in image:
            for i, row in enumerate(weight):
                x = sum((w * Fraction(float(f)) for w, f in zip(row, frame, strict=True)), Fraction(float(fc.bias[i])))
                v[i] += decay * (gain * x - v[i])
                distance = v[i] - Fraction(float(lif.v_threshold[i]))
                found.append(abs(distance))
                v[i] = Fraction(0) if distance > 0 else v[i]
    return float(min(found))


def test_the_nearest_membrane_is_that_of_exact_fractions_within_the_error():
    prepared = own(Leaky())
    assert prepared.certificate.nodes["lif"].rung == "no proof"
    frames = prepared.inputs.random(8, STEPS, 0)
    margin = margins(prepared, frames)["lif"]
    assert abs(margin.nearest - exact_nearest(prepared, frames)) <= margin.error < 1e-11
    assert margin.covered


def test_the_error_of_a_membrane_by_hand():
    """6 products and a bias, 3 roundings on the way into the matrix and 3 out of it; then 4 in each of 12 steps."""
    prepared = own(Leaky())
    fc, lif = prepared.graph.nodes["fc"], prepared.graph.nodes["lif"]
    magnitude = 4 * float(np.abs(fc.weight.astype(np.float64)).sum(1).max())  # frames are within 2
    gain, threshold = float(lif.r[0]), float(lif.v_threshold[0])
    expected = 12 * (gain * 13 * ROUNDING * magnitude + ROUNDED * ROUNDING * (gain * magnitude + threshold))
    assert errors_of(prepared) == {"lif": pytest.approx(expected, rel=1e-9)}


def test_a_membrane_at_its_threshold_is_not_covered():
    decay = decay_of(own(Leaky()).graph.nodes["lif"].tau)
    # The graph's threshold is the float32 below, so that a current of 1 from rest reaches it and doesn't fire.
    net = Leaky(threshold=float(np.nextafter(np.float32(decay), np.float32(1))))
    with torch.no_grad():
        net.fc.weight.copy_(torch.eye(5, 6))
        net.fc.bias.zero_()
    frames = np.zeros((1, STEPS, 6), np.float32)
    frames[0, 0, 0] = 1
    margin = margins(own(net), frames)["lif"]
    assert margin.nearest == 0
    assert not margin.covered


def test_batches_change_no_margin():
    prepared = own(Leaky())
    frames = prepared.inputs.random(5, STEPS, 1)
    assert margins(prepared, frames, batch=2) == margins(prepared, frames, batch=5)


@pytest.mark.parametrize("tau", [2.0, 3.0])
def test_the_report_states_margins_where_there_is_no_proof(tmp_path, tau):
    source = f"""
import torch
from spikingjelly.activation_based import neuron
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.lif = nn.Linear(6, 5), neuron.LIFNode(tau={tau}, v_threshold=0.4)
    def forward(self, x):
        return torch.stack([self.lif(self.fc(step)) for step in x])
"""
    (tmp_path / "net.py").write_text(source)
    words = ["--module", f"{tmp_path / 'net.py'}:Net", "--input", "6", "-T", str(STEPS), "--axes", "TBF"]
    done = CliRunner().invoke(app, [*words, "-o", str(tmp_path / "n.nir"), "--json", str(tmp_path / "n.json")])
    assert done.exit_code == 0, done.output
    document = json.loads((tmp_path / "n.json").read_text())
    proven = tau == 2.0
    assert (document["margins"] == {}) is proven
    assert ("float64 errs by" in done.output) is not proven
    if not proven:
        assert document["margins"]["lif"]["covered"]
