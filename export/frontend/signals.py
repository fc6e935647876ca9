"""Signals: what a traced tensor is, element by element, in terms of the nodes of the graph in the making.

A signal is a sum of terms and of a constant.  A term names for every element which number of which node it is: the
*code* of element i of the node's output at time step t of image b is

    (t * images + b) * size + i        or -1 for an element that is 0

So a view, a permutation, a chunk, einops or a repetition of a signal is the same call on its codes, and no convention
of axes (time first, batch first, tokens, heads) has to be known.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

ABSENT = -1
"""The code of an element that is 0 in every time step."""


@dataclass(frozen=True, eq=False)
class Term:
    """`factor * node[code]`, element by element.

    Attributes:
        node: index of a node.
        code: int64, of the signal's shape.
        factor: float64, a single number or of the signal's shape.
    """

    node: int
    code: Tensor
    factor: Tensor

    @property
    def uniform(self) -> bool:
        """Whether all elements have one factor."""
        return self.factor.ndim == 0

    def laid_out(self, layout: Callable[[Tensor], Tensor]) -> "Term":
        """The term after a change of layout."""
        return Term(self.node, layout(self.code), self.factor if self.uniform else layout(self.factor))

    def times(self, factor: Tensor) -> "Term":
        """The term times a number, or times one number for each element."""
        product = self.factor * factor
        if product.ndim and product.numel() and bool((product == product.reshape(-1)[0]).all()):
            product = product.reshape(-1)[0]
        return replace(self, factor=product)


@dataclass(frozen=True, eq=False)
class Signal:
    """`Σ terms + constant`.

    Attributes:
        shape: of the traced tensor.
        terms: at least one.
        constant: float64 of the signal's shape; None for 0.
        time_weights: float64 `[T]` where the signal is `Σ_t w_t x_t + constant`, of which the terms say x in the first
            time step; None where it has a time of its own.  The host adds such sums up, behind the graph's output.
    """

    shape: tuple[int, ...]
    terms: tuple[Term, ...]
    constant: Tensor | None = None
    time_weights: Tensor | None = None

    def laid_out(self, layout: Callable[[Tensor], Tensor]) -> "Signal":
        """The signal after a change of layout, which moves codes, factors and constants alike."""
        terms = tuple(term.laid_out(layout) for term in self.terms)
        constant = None if self.constant is None else layout(self.constant)
        return Signal(tuple(terms[0].code.shape), terms, constant, self.time_weights)

    def times(self, factor: Tensor) -> "Signal":
        """The signal times a number, or times one number for each element."""
        constant = None if self.constant is None else self.constant * factor
        return replace(self, terms=tuple(term.times(factor) for term in self.terms), constant=constant)


@dataclass(frozen=True, eq=False)
class Product:
    """`factor * a @ b` of spikes, which is nothing by itself: a third factor makes it self-attention.

    Attributes:
        a: `[..., n, k]`.
        b: `[..., k, m]`.
        factor: a number.
    """

    a: Signal
    b: Signal
    factor: float = 1.0

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the product."""
        lead = np.broadcast_shapes(self.a.shape[:-2], self.b.shape[:-2])
        return (*lead, self.a.shape[-2], self.b.shape[-1])


@dataclass(frozen=True)
class Membrane:
    """The state that a neuron of snnTorch returns beside its spikes, which nothing but the same neuron may read.

    Attributes:
        key: path of the neuron.
        call: how many times the neuron was called before.
    """

    key: str
    call: int


def unrepeated(values: Tensor) -> Tensor:
    """The values with one element along each dimension that repeats an element: of stride 0, as `expand` makes them."""
    return values[tuple(slice(None) if stride else slice(1) for stride in values.stride())]


ONE = torch.ones((), dtype=torch.float64)
"""The factor of a term as it comes."""
