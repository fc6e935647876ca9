"""Modules as people in the field write them: wrapped, parametrized, with results beside the result, own classes."""

import re

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import nn
from torch.nn.utils import parametrizations, prune

from spikeclip.errors import RefusedInput
from tests.export.frontend.parity import assert_same, prepare


def net(first: nn.Module | None = None, fire: nn.Module | None = None) -> nn.Sequential:
    torch.manual_seed(0)
    parts = [first or nn.Conv2d(3, 6, 3, padding=1), fire or neuron.LIFNode(v_threshold=0.5), nn.AvgPool2d(2)]
    return nn.Sequential(*parts, nn.Flatten(), nn.Linear(6 * 16, 5), neuron.LIFNode(v_threshold=1 / 32))


class Loop(nn.Module):
    """Shows an image four times, and leaves to `end` what becomes of the scores `[4, B, 5]`."""

    def __init__(self, parts: nn.Module, end=lambda scores: scores.mean(0)) -> None:
        super().__init__()
        self.parts, self.end = parts, end

    def forward(self, x):
        functional.reset_net(self)
        return self.end(torch.stack([self.parts(3 * x) for _ in range(4)]))


def same(module: nn.Module, scale: float = 1.0) -> None:
    """The graph gives the module's spikes and result, and its result is that of the module before it was converted."""
    prepared = prepare(module, 3, 8, 8)
    assert_same(prepared)
    frames = prepared.inputs.random(2, 4, 1)
    with torch.no_grad():
        expected = module.float()(torch.from_numpy(frames))
    expected = next(iter(expected.values())) if isinstance(expected, dict) else expected
    expected = expected[0] if isinstance(expected, tuple) else expected
    difference = abs(prepared.record(frames).result - expected.double().numpy())
    assert difference.mean() < 0.02 * scale  # folded and snapped numbers let a spike move now and then
    assert abs(expected).max() > 0


def compiled(module: nn.Module) -> nn.Module:
    return torch.compile(module, backend="eager")  # the default loads a compiler, which nothing here runs


@pytest.mark.parametrize("wrap", [nn.DataParallel, compiled, lambda module: compiled(nn.DataParallel(module))])
def test_a_wrapped_module_is_what_it_wraps(wrap):
    assert_same(prepare(wrap(Loop(net())), 3, 8, 8))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_width_are_computed_in_float32_which_halves_say(dtype):
    prepared = prepare(Loop(net()).to(dtype), 3, 8, 8)
    assert_same(prepared)
    assert any(str(dtype) in note for note in prepared.notes) == (dtype is not torch.float64)


def test_numbers_that_float32_rounds_are_said():
    module = net().double()
    nn.init.constant_(next(module.parameters()), 1 / 3)
    notes = prepare(Loop(module), 3, 8, 8).notes
    assert [note for note in notes if "float64" in note] == [
        "weights of torch.float64: rounded to float32 (parts.0.weight; 1 in all)"
    ]


def test_a_module_without_numbers_is_refused():
    with pytest.raises(RefusedInput, match=r"'parts.0.weight' is on the meta device"):
        prepare(Loop(net()).to("meta"), 3, 8, 8)


@pytest.mark.parametrize(
    "parametrize",
    [
        nn.utils.weight_norm,
        nn.utils.spectral_norm,
        parametrizations.weight_norm,
        parametrizations.spectral_norm,
        lambda conv: prune.l1_unstructured(conv, "weight", amount=0.5),
    ],
    ids=["weight norm", "spectral norm", "parametrized weight norm", "parametrized spectral norm", "pruned"],
)
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_a_weight_that_is_computed_from_parameters_is_a_weight(parametrize):
    module = Loop(net(parametrize(nn.Conv2d(3, 6, 3, padding=1)))).eval()
    names = [name for name, _ in module.named_parameters()]
    same(module)
    assert [name for name, _ in module.named_parameters()] == names
    module(torch.rand(1, 3, 8, 8))


class Standardised(nn.Conv2d):
    def forward(self, x):
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return nn.functional.conv2d(x, weight / weight.std((1, 2, 3), keepdim=True), self.bias, padding=self.padding)


class Binary(layer.Conv2d):
    def _conv_forward(self, x, weight, bias):
        return super()._conv_forward(x, weight.sign() * weight.abs().mean(), bias)


class Rounding(nn.Conv2d):
    def forward(self, x):
        return super().forward((x * 4).round() / 4)


@pytest.mark.parametrize("kind", [Standardised, Binary])
def test_a_layer_that_computes_its_weight_has_the_weight_that_it_uses(kind):
    module = Loop(net(kind(3, 6, 3, padding=1))).eval()
    same(module)
    assert "parts.0 first" in prepare(module, 3, 8, 8).notes[0]


def test_a_layer_that_rounds_what_it_reads_is_refused_by_operator():
    with pytest.raises(RefusedInput, match=r"'parts.0' \(aten.round"):
        prepare(Loop(net(Rounding(3, 6, 3, padding=1))), 3, 8, 8)


def test_a_module_in_the_midst_of_training_is_exported_from_rest():
    module = Loop(net(), end=lambda scores: scores.sum(0))
    module(torch.rand(2, 3, 8, 8)).sum().backward()
    assert not module.parts[1].v.is_leaf
    assert_same(prepare(module, 3, 8, 8))


ENDS = {
    "a constant added in every step": lambda scores: (scores + torch.arange(5.0)).sum(0),
    "... and averaged": lambda scores: (scores + torch.arange(5.0)).mean(0),
    "a constant added to the sum": lambda scores: scores.sum(0) + torch.arange(5.0),
    "the last time step": lambda scores: scores[-1],
    "the last two": lambda scores: scores[2:].mean(0),
    "all but the first, summed one by one": lambda scores: sum(scores[1:]) + 0.5,
    "a rate beside the result": lambda scores: (scores.mean(0), scores.mean().item(), scores.softmax(-1)),
    "a dictionary": lambda scores: {"scores": scores.mean(0), "probability": scores.mean(0).softmax(1)},
}


@pytest.mark.parametrize("end", ENDS)
def test_what_becomes_of_the_scores(end):
    same(Loop(net(), ENDS[end]).eval(), scale=4)


class Parts(nn.Module):
    """For modules that run them each in their own way."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = net()


class Assigned(Parts):
    def forward(self, x):
        functional.reset_net(self)
        out = torch.zeros(len(x), 5, 4)
        for t in range(4):
            out[..., t] = self.parts(3 * x)
        return out.mean(-1)


class Skipping(Parts):
    """Drops the first two calls of its neurons, whose membranes go on all the same."""

    def forward(self, x):
        functional.reset_net(self)
        return [self.parts(3 * x) for _ in range(4)][2:][-1]


class TwoNames(Parts):
    def __init__(self) -> None:
        super().__init__()
        self.fire = self.parts[1]
        self.last = self.parts[4:]

    def forward(self, x):
        functional.reset_net(self)
        return sum(self.last(self.parts[3](self.parts[2](self.fire(self.parts[0](3 * x))))) for _ in range(4)) / 4


@pytest.mark.parametrize("kind", [Assigned, Skipping, TwoNames])
def test_time_steps_written_into_a_tensor_dropped_or_neurons_of_two_names(kind):
    same(kind().eval())


class Either(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = (nn.Sequential(nn.Conv2d(3, 6, 3), neuron.LIFNode(v_threshold=0.5)) for _ in range(2))
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(6 * 36, 5))

    def forward(self, x):
        functional.reset_net(self)
        return sum(self.head(torch.maximum(self.a(x), self.b(x))) for _ in range(4)) / 4


def test_the_greater_of_two_spikes_is_or():
    same(Either().eval())


def test_the_greater_of_two_currents_is_refused():
    module = Either()
    module.a[1] = nn.Identity()
    with pytest.raises(RefusedInput, match=r"aten.maximum.*aren't both spikes"):
        prepare(module, 3, 8, 8)


class Named(neuron.LIFNode):
    """Other defaults, the same equation."""

    def __init__(self) -> None:
        super().__init__(tau=4.0, v_threshold=0.5, decay_input=False)


class LIFNode(neuron.LIFNode):
    """Another equation by the same name."""

    def single_step_forward(self, x):
        self.v = 0.9 * self.v + x  # 0 at rest
        spike = self.surrogate_function(self.v - self.v_threshold)
        self.v = self.v * (1 - spike)
        return spike


class Above(nn.Module):
    """A surrogate function of the user's, for which the threshold itself is no spike."""

    def forward(self, x):
        return (x > 0).float()


def test_a_class_derived_from_a_known_neuron_is_run_and_read():
    same(Loop(net(fire=Named())).eval())


def test_a_class_of_the_same_name_that_computes_something_else_is_refused():
    with pytest.raises(RefusedInput, match=r"'parts.1': .*LIFNode computes something else than LIFNode"):
        prepare(Loop(net(fire=LIFNode())), 3, 8, 8)


@pytest.mark.parametrize(("function", "fires"), [(surrogate.ATan(), 1), (Above(), 0)])
def test_a_membrane_at_the_threshold_fires_where_the_surrogate_function_says_so(function, fires):
    conv = nn.Conv2d(3, 6, 3, padding=1)
    nn.init.zeros_(conv.weight)
    nn.init.constant_(conv.bias, 2.0)  # to which tau = 2 adds a half at once: the threshold
    prepared = prepare(Loop(net(conv, neuron.LIFNode(surrogate_function=function)), lambda s: s), 3, 8, 8)
    assert_same(prepared)
    train, *_ = prepared.record(prepared.inputs.random(1, 4, 0)).spikes.values()
    assert bool(train.bits[0, 0].any()) == bool(fires)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"v_threshold": torch.rand(6, 1, 1) + 0.5}, "'parts.1' has 6 values of v_threshold; expected one"),
        ({"tau": torch.rand(6, 1, 1) + 1.5}, "'parts.1' has 6 values of tau; expected one"),
        ({"surrogate_function": surrogate.Sigmoid(spiking=False)}, "its surrogate function makes 0.017"),
    ],
)
def test_neurons_that_no_equation_says_are_refused(change, words):
    fire = neuron.LIFNode()
    for name, value in change.items():
        setattr(fire, name, value)
    with pytest.raises(RefusedInput, match=re.escape(words)):
        prepare(Loop(net(fire=fire)), 3, 8, 8)


def test_a_neuron_of_spikingjelly_without_a_threshold_of_that_name_is_refused_by_name():
    with pytest.raises(RefusedInput, match=r"neuron .*PSN has no lowering"):
        prepare(Loop(net(fire=neuron.PSN(T=4))), 3, 8, 8)
