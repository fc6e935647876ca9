"""Neurons written out in plain PyTorch: read by their spikes, and spike for spike as the user's own untouched code."""

import numpy as np
import pytest
import torch
from torch import nn

from export.frontend.neurons.equations import Reset
from neuromorphic.execution.reference import run
from neuromorphic.reading.build import from_nir
from spikeclip.errors import RefusedInput
from tests.export.frontend import written_out
from tests.export.frontend.parity import assert_same, lively, prepare

READ = {
    "TimeFirst": (0.75, 0.5, Reset.HARD, False),
    "TimeSecond": (0.5, 1.0, Reset.HARD, False),
    "TimeLast": (0.8, 0.3, Reset.HARD, False),
    "SoftIf": (0.0, 0.75, Reset.SOFT, True),
    "Divides": (0.25, 1.0, Reset.HARD, True),
    "LateSoft": (0.25, 1.0, Reset.SOFT_LATE, False),
    "NoReset": (0.5, 1.0, Reset.NONE, False),
    "OneStep": (0.5, 0.5, Reset.HARD, False),
}
"""By class: decay, threshold, reset, and whether it fires at its threshold."""


def network(name: str, **settings: object) -> nn.Module:
    return written_out.Network(getattr(written_out, name), **settings).eval()


@pytest.mark.parametrize("name", READ)
def test_neurons_of_every_form_are_read_and_spike_as_the_untouched_module(name):
    net = network(name)
    prepared = prepare(net, 3, 6, 6)
    neurons = prepared.neurons["first"].neurons
    found = (neurons.decay, neurons.threshold, neurons.reset, neurons.at_threshold)
    assert found == pytest.approx(READ[name]) if found[2:] == READ[name][2:] else found == READ[name]
    assert_same(prepared)
    frames = prepared.inputs.random(8, 4, 0)
    trace = run(from_nir(prepared.graph), frames)
    for image, frame in enumerate(frames):
        net = network(name)  # with membranes at rest
        with torch.no_grad():
            expected = net(torch.from_numpy(frame[None]))
        np.testing.assert_array_equal(trace.outputs[image].reshape(4, -1), expected.reshape(4, -1).numpy())
    assert 0 < trace.spikes["first"].count() < trace.spikes["first"].neurons * 8 * 4
    assert any("in plain PyTorch" in note for note in prepared.notes)


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("name", ["TimeFirst", "TimeSecond", "TimeLast"])
def test_as_many_images_as_time_steps_don_t_confuse_the_axes(name, steps):
    assert_same(prepare(network(name, steps=steps), 3, 6, 6, time_steps=steps))


def test_one_module_behind_two_layers_is_two_populations():
    prepared = prepare(network("TimeSecond", shared=True), 3, 6, 6)
    assert {"first.1", "first.2"} <= set(prepared.graph.nodes)
    report = assert_same(prepared)
    assert {"first.1", "first.2"} <= set(report.nodes)


def test_neurons_that_wait_after_a_spike_are_refused_by_module_and_class():
    with pytest.raises(RefusedInput, match=r"module 'first' \(Refractory\) sends spikes by no equation"):
        prepare(network("Refractory"), 3, 6, 6)


def test_thresholds_of_each_channel_are_refused():
    class Channels(written_out.TimeFirst):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x * torch.linspace(1, 2, x.shape[-1]))

    with pytest.raises(RefusedInput, match=r"'first' \(Channels\) sends spikes by no equation"):
        prepare(written_out.Network(Channels).eval(), 3, 6, 6)


def test_a_comparison_alone_is_no_neuron():
    class Step(nn.Module):
        time_axis = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x > 0).float()

    with pytest.raises(RefusedInput, match=r"'first' \(Step\).*holds its membranes itself"):
        prepare(written_out.Network(Step).eval(), 3, 6, 6)


def test_modules_that_send_other_numbers_stay_as_they_are():
    class Halved(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 0.5

    net = network("TimeFirst")
    net.conv = nn.Sequential(net.conv, Halved())
    assert_same(prepare(net, 3, 6, 6))


class Published(nn.Module):
    """What published code does around such neurons: layers under two names, tensors filled step by step, 3D pools."""

    def __init__(self, steps: int = 4) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.steps, self.conv, self.norm = steps, nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.stem = nn.Sequential(self.conv, self.norm)
        self.first, self.second, self.last = (written_out.TimeFirst() for _ in range(3))
        self.next, self.fc = nn.Conv2d(4, 6, 3, padding=1), nn.Linear(6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x.unsqueeze_(0)
        frames = torch.zeros(self.steps, *x.shape[1:])
        for step in range(self.steps):
            frames[step] = x[0]
        y = torch.zeros_like(self.conv(frames.flatten(0, 1))).unflatten(0, (self.steps, -1))
        for step in range(self.steps):
            y[step] = self.stem(frames[step])
        y = nn.functional.avg_pool3d(self.first(y), (1, 2, 2), stride=(1, 2, 2))
        z = self.second(torch.stack([self.next(each) for each in y]))
        z = nn.functional.adaptive_avg_pool3d(z, (None, 2, 2))
        z = nn.functional.adaptive_avg_pool3d(z, (None, 1, 1)).flatten(2)
        return self.last(self.fc(z))


def test_code_as_it_is_published_around_such_neurons_is_the_same():
    prepared = prepare(lively(Published()), 3, 8, 8)
    assert set(assert_same(prepared).nodes) == {"first", "second", "last"}
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize(
    ("pool", "words"),
    [
        (lambda x: nn.functional.avg_pool3d(x, 2), r"avg_pool3d.*windows of \[2, 2, 2\]"),
        (lambda x: nn.functional.adaptive_avg_pool3d(x, 1), r"adaptive_avg_pool3d.*into \[1, 1, 1\] parts"),
    ],
)
def test_averages_over_channels_or_time_and_maps_are_refused(pool, words):
    class Pooled(written_out.Network):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return pool(self.first(self.conv(x).unsqueeze(0).repeat(self.steps, 1, 1, 1, 1)))

    with pytest.raises(RefusedInput, match=words):
        prepare(Pooled(written_out.TimeFirst).eval(), 3, 6, 6)
