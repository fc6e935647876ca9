"""Muon against plain loops in float64 and against PyTorch's own; which weights it gets, and that it resumes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeclip.config import SpikeClipConfig
from spikeclip.encoder import Encoder
from spikeclip.muon import Muon, orthogonalised
from spikeclip.recipe import Recipe
from spikeclip.training_run import Run
from spikeclip.twin import AnnTwin

CONFIG = SpikeClipConfig(width=16, depth=1, image_size=16, embedding_width=8, time_steps=2)


def product(a, b):
    """`a @ b` of lists of rows, one number at a time."""
    return [[sum(x * y for x, y in zip(row, column, strict=True)) for column in zip(*b, strict=True)] for row in a]


def by_loops(matrix):
    """The iteration of Newton and Schulz in plain numbers."""
    length = sum(value * value for row in matrix for value in row) ** 0.5
    x = [[value / length for value in row] for row in matrix]
    for _ in range(5):
        square = product(x, list(zip(*x, strict=True)))
        first, second = product(square, x), product(square, product(square, x))
        x = [
            [3.4445 * p - 4.775 * q + 2.0315 * r for p, q, r in zip(*rows, strict=True)]
            for rows in zip(x, first, second, strict=True)
        ]
    return np.array(x)


def steps_by_loops(weight, gradients, lr, decay, momentum):
    """Weights after a step with each gradient, all float64 `[out, ...]`."""
    mean, weight = np.zeros_like(weight), weight.copy()
    for gradient in gradients:
        mean = momentum * mean + (1 - momentum) * gradient
        ahead = (momentum * mean + (1 - momentum) * gradient).reshape(len(weight), -1)
        size = max(1, ahead.shape[0] / ahead.shape[1]) ** 0.5
        weight = weight - lr * decay * weight - lr * size * by_loops(ahead.tolist()).reshape(weight.shape)
    return weight


KERNELS, MATRICES = [(6, 4, 3, 3), (40, 4, 3, 3), (1, 1, 1, 1)], [(12, 3), (3, 12), (1, 5), (5, 1)]


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        *((shape, torch.contiguous_format) for shape in KERNELS + MATRICES),
        *((shape, torch.channels_last) for shape in KERNELS),
    ],
)
def test_three_steps_equal_plain_loops(shape, layout):
    rng = np.random.default_rng(len(shape))
    start, gradients = rng.normal(size=shape), rng.normal(size=(3, *shape)) * 1e-4
    weight = torch.nn.Parameter(torch.tensor(start).contiguous(memory_format=layout))
    optimizer = Muon([weight], lr=0.1, weight_decay=0.3, momentum=0.9)
    for gradient in gradients:
        weight.grad = torch.from_numpy(gradient)
        optimizer.step()
    expected = steps_by_loops(start, gradients, 0.1, 0.3, 0.9)
    np.testing.assert_allclose(weight.detach().numpy(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shape", [(24, 8), (8, 24)])
def test_matrices_move_as_pytorchs_own_moves_them_up_to_bfloat16(shape):
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(shape, generator=generator)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    both = Muon([ours], 0.1, 0.3, 0.9), torch.optim.Muon([theirs], 0.1, 0.3, 0.9)
    for _ in range(3):
        ours.grad = theirs.grad = torch.randn(shape, generator=generator)
        for optimizer in both:
            optimizer.step()
    # Three steps of 0.1, with entries of an orthogonal matrix rounded to 8 bits five times over.
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0.02)
    assert (ours - start).abs().max() > 0.2


@settings(deadline=None)
@given(
    rows=st.integers(1, 20),
    columns=st.integers(1, 20),
    scale=st.sampled_from([1e-5, 1.0, 1e6]),
    spread=st.floats(1, 30),
    seed=st.integers(0, 2**32 - 1),
)
def test_singular_values_come_out_near_one_and_directions_stay(rows, columns, scale, spread, seed):
    rng = np.random.default_rng(seed)
    n = min(rows, columns)
    u, v = (np.linalg.qr(rng.normal(size=(size, n)))[0] for size in (rows, columns))
    values = scale * np.geomspace(1, spread, n)
    found = orthogonalised(torch.from_numpy(u * values @ v.T)).numpy()
    inside = u.T @ found @ v
    np.testing.assert_allclose(u @ inside @ v.T, found, atol=1e-9)
    np.testing.assert_allclose(inside, np.diag(np.diag(inside)), atol=1e-6)
    assert (np.diag(inside) > 0.6).all()
    assert (np.diag(inside) < 1.3).all()


def test_a_gradient_of_zeros_moves_nothing_but_the_decay():
    weight = torch.nn.Parameter(torch.ones(2, 3))
    weight.grad = torch.zeros(2, 3)
    Muon([weight], lr=0.5, weight_decay=0.5).step()
    assert torch.equal(weight, torch.full((2, 3), 0.75))


def groups(model):
    """Names of the model's parameters by optimiser, and the run."""
    run = Run(model, Recipe(schedule=((2, 1),), optimizer="muon"), "cpu", lambda model, x, t: model(x))
    names = {p: name for name, p in model.named_parameters()}
    return [{names.get(p, "t") for g in o.param_groups for p in g["params"]} for o in run.optimizers], run


@pytest.mark.parametrize("make", [Encoder, AnnTwin])
def test_hidden_layers_get_muon_and_the_rest_adamw(make):
    (adamw, muon), _ = groups(make(CONFIG))
    weights = {name for name, p in make(CONFIG).named_parameters() if p.ndim > 1}
    assert muon == weights - {"head.weight"}
    assert adamw == {name for name, _ in make(CONFIG).named_parameters()} - muon | {"t"}


def test_both_learning_rates_follow_one_curve():
    _, run = groups(Encoder(CONFIG))
    peaks = [[group["peak"] for group in optimizer.param_groups] for optimizer in run.optimizers]
    assert peaks == [[2e-3, 2e-3], [0.02]]
    seen = []

    def loss(embeddings, temperature, batch, steps):
        seen.append([[group["lr"] for group in optimizer.param_groups] for optimizer in run.optimizers])
        return embeddings.sum() * temperature

    batch = type("Batch", (), {"inputs": torch.zeros(2, 3, 16, 16)})
    run.train_on([batch] * 8, 8, loss, lambda *_: None)
    for i, rates in enumerate(seen):
        part = run.recipe.learning_rate_at(i / 8) / 2e-3
        assert rates == [[pytest.approx(part * 2e-3)] * 2, [pytest.approx(part * 0.02)]]
    assert max(rates[1][0] for rates in seen) > 0.015


def test_weights_of_one_shape_are_changed_as_each_alone():
    generator = torch.Generator().manual_seed(0)
    shapes = [(6, 4, 3, 3), (6, 36), (6, 4, 3, 3), (3, 12)]
    weights = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    gradients = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    changed = []
    for together in (True, False):
        parameters = [torch.nn.Parameter(weight.clone()) for weight in weights]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.clone()
        for group in [parameters] if together else [[parameter] for parameter in parameters]:
            Muon(group, 0.02, 0.1).step()
        changed.append([parameter.detach() for parameter in parameters])
    for one, other in zip(*changed, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
