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

    Shapes: float `[..., M, N]` to the same.
    """
    a, b, c = COEFFICIENTS
    high = matrix.shape[-2] > matrix.shape[-1]
    x = matrix.mT if high else matrix  # the smaller square is the cheaper one
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=1e-7)
    for _ in range(ITERATIONS):
        square = x @ x.mT
        x = a * x + (b * square + c * (square @ square)) @ x
    return x.mT if high else x


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
            alike: dict[torch.Size, list[Tensor]] = {}
            for weight in group["params"]:
                if weight.grad is not None:
                    alike.setdefault(weight.flatten(1).shape, []).append(weight)
            for weights in alike.values():
                self._change(weights, group)

    def _change(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        """Change weights that are matrices of one shape: an accelerator multiplies them together."""
        ahead = torch.stack([self._ahead(weight, group["momentum"]) for weight in weights])
        scale = max(1.0, ahead.shape[-2] / ahead.shape[-1]) ** 0.5
        for weight, change in zip(weights, orthogonalised(ahead), strict=True):
            weight.mul_(1 - group["lr"] * group["weight_decay"])
            weight.add_(change.view(weight.shape), alpha=-group["lr"] * scale)

    def _ahead(self, weight: Tensor, momentum: float) -> Tensor:
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        mean = state["momentum"].lerp_(weight.grad, 1 - momentum)
        return weight.grad.lerp(mean, momentum).flatten(1)
