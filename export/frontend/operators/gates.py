"""Gates: products of spikes are AND; a spike times one minus a spike is AND-NOT; the greater of two is OR."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from export.frontend.context import Context
from export.frontend.nodes import Both, ButNot, Relay
from export.frontend.selection import picked, selected
from export.frontend.signals import ONE, Signal, Term

Kind = Literal["and", "and not", "or"]


def multiply_spikes(context: Context, a: Signal, b: Signal) -> Signal:
    """`a b` of signals of one shape.

    Raises:
        RefusedInput: they are not both spikes, one of them perhaps as `1 - spike`.
    """
    if context.spiking(a) and context.spiking(b):
        context.operands[context.path] = (a.terms[0].node, b.terms[0].node)
        return _gate(context, a.terms[0], b.terms[0], "and")
    for x, y in ((a, b), (b, a)):
        inverse = _inverted(context, y)
        if context.spiking(x) and inverse is not None:
            return _gate(context, x.terms[0], inverse, "and not")
    names = " and ".join(_describe(context, x) for x in (a, b))
    raise context.refused(f"multiplies {names}; expected spikes, of which products are gates")


def greater(context: Context, a: Any, b: Any) -> Signal:
    """`max(a, b)` of spikes of one shape, which is OR."""
    if not all(isinstance(x, Signal) and context.spiking(x) for x in (a, b)) or a.shape != b.shape:
        raise context.refused("takes the greater of two values that aren't both spikes; expected spikes of one shape")
    return _gate(context, a.terms[0], b.terms[0], "or")


def _inverted(context: Context, y: Signal) -> Term | None:
    """X where `y = 1 - x` of spikes x."""
    if y.constant is None or len(y.terms) != 1 or not bool((y.constant == 1).all()):
        return None
    term = y.terms[0]
    if not term.uniform or float(term.factor) != -1:
        return None
    inverse = Term(term.node, term.code, ONE)
    return inverse if context.spiking(Signal(y.shape, (inverse,))) else None


def _describe(context: Context, x: Signal) -> str:
    return " + ".join(dict.fromkeys(context.name(term.node) for term in x.terms[:3]))


def _gate(context: Context, a: Term, b: Term, kind: Kind) -> Signal:
    if kind != "and not" and a.node == b.node and torch.equal(a.code, b.code):
        return Signal(tuple(a.code.shape), (a,))
    for main, other in ((a, b), (b, a)):
        whole = _covering(context, main)
        order = None if whole is None else _order(context, whole, other)
        if whole is not None and order is not None:
            break
    else:
        raise context.refused(
            f"gates {context.name(a.node)} with {context.name(b.node)} in layouts that don't fit each other"
        )
    node = context.nodes[whole.node]
    second = selected(context, other.node, order, node.shape)
    swapped = kind == "and not" and main is not a
    inputs = (second, whole.node) if swapped else (whole.node, second)
    operation = Both() if kind == "and" else ButNot() if kind == "and not" else Relay()
    key = (kind, inputs if kind == "and not" else tuple(sorted(inputs)))
    gate = context.add(context.label(kind.replace(" ", "_")), operation, node.shape, inputs, key)
    static = context.nodes[gate].static
    code = whole.code
    if node.static and not static:
        moment, _ = context.decode(other)
        code = moment * node.size + whole.code % node.size
    return Signal(tuple(a.code.shape), (Term(gate, code, ONE),))


def _covering(context: Context, term: Term) -> Term | None:
    """The spikes of a term as those of a node that holds no others; None where they are no whole channels.

    Where only some channels of a node are read, a node that picks them is made first.
    """
    node = context.nodes[term.node]
    moment, element = context.decode(term)
    used = torch.unique(element)
    if len(used) == node.size:
        return term
    if len(node.shape) != 3:
        return None
    channel = torch.unique(used // node.space)
    if len(channel) * node.space != len(used):
        return None
    index = picked(context, term.node, channel)
    place = torch.searchsorted(channel, (element // node.space).contiguous())
    return Term(index, moment * context.nodes[index].size + place * node.space + element % node.space, ONE)


def _order(context: Context, main: Term, other: Term) -> Tensor | None:
    """F where element i of `main`'s node meets element f[i] of `other`'s, the same at every time and image."""
    moment, element = context.decode(main)
    other_moment, other_element = context.decode(other)
    if context.nodes[main.node].static != context.nodes[other.node].static:
        moment, other_moment = moment % context.images, other_moment % context.images
    if not torch.equal(moment, other_moment):
        return None
    order = torch.full((context.nodes[main.node].size,), -1)
    order[element.reshape(-1)] = other_element.reshape(-1)
    if bool((order < 0).any()) or not torch.equal(order[element], other_element):
        return None
    return order


def compared(context: Context, *arguments: Any) -> Signal:
    """Refused: a comparison makes spikes, but which membranes it belongs to only a module says.

    Raises:
        RefusedInput: always.
    """
    why = "no membrane that is stepped in every time step by sums and products with numbers"
    why = why if context.call is None else context.call.meta.get("unknown", why)
    raise context.refused(
        f"compares: {why}; expected neurons of v = k v + x that are reset to 0, by the threshold or not at all, or a "
        "module of their own, which takes currents to spikes and holds its membranes"
    )


TABLE: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys((getattr(torch.ops.aten, n).Scalar for n in ("gt", "ge", "lt", "le")), compared),
    **dict.fromkeys((getattr(torch.ops.aten, n).Tensor for n in ("gt", "ge", "lt", "le")), compared),
    torch.ops.aten.heaviside.default: compared,
    **dict.fromkeys((torch.ops.aten.maximum.default, torch.ops.aten.max.other), greater),
}
"""The lowering of each operator."""
