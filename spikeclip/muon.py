"""Muon: momentum whose steps are orthogonal matrices (Jordan et al., 2024, kellerjordan.github.io/posts/muon).

PyTorch's own (`torch.optim.Muon`) takes matrices only, and rounds them to bfloat16, which few CPUs compute with.  Here
a convolution is a matrix too, `[outputs, inputs · height · width]`, and all is float32.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""a, b, c of the iteration `X ← aX + b(XXᵀ)X + c(XXᵀ)²X`, by Jordan: steep at 0 rather than exact at 1."""

ITERATIONS = 5


def orthogonalised(matrix: Tensor) -> Tensor:
    """`U S Vᵀ` of a matrix `U Σ Vᵀ`, with the singular values S between about 0.7 and 1.2 whatever Σ was.

    Five steps of an iteration of Newton and Schulz, from the matrix over its Frobenius norm.  Singular values below a
    hundredth of that norm stay smaller.

    Shapes: float `[M, N]` to the same.
    """
    a, b, c = COEFFICIENTS
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix  # the smaller square is the cheaper one
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(ITERATIONS):
        square = x @ x.T
        x = torch.addmm(x, torch.addmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.T if matrix.shape[0] > matrix.shape[1] else x


class Muon(torch.optim.Optimizer):
    """Steps of Muon on weights of convolutions and of linear layers.

        m ← μ m + (1 - μ) g
        w ← (1 - η λ) w - η max(1, out / in)^½ orthogonalised(μ m + (1 - μ) g)

    with the gradient g, the learning rate η, the weight decay λ, the momentum μ, and w as a matrix `[out, in]`, in
    counting the positions of a kernel.  All singular values of a step are about η, where a gradient's are mostly tiny.

    Args:
        params: tensors `[out, in, ...]` of two dimensions or more.
        lr: η.
        weight_decay: λ.
        momentum: μ.
    """

    def __init__(
        self, params: Iterable[nn.Parameter], lr: float, weight_decay: float = 0.0, momentum: float = 0.95
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Change every weight that has a gradient; `closure` is not called, nothing here needs the loss again."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._change(weight, group)

    def _change(self, weight: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        mean = state["momentum"].lerp_(weight.grad, 1 - group["momentum"])
        ahead = weight.grad.lerp(mean, group["momentum"]).flatten(1)
        scale = max(1.0, ahead.shape[0] / ahead.shape[1]) ** 0.5
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        weight.add_(orthogonalised(ahead).view(weight.shape), alpha=-group["lr"] * scale)
