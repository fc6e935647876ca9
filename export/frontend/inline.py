"""Neurons written out in a network's own forward: comparisons of its traced calls, read by their algebra.

The trace has a loop over time steps unrolled.  The membrane m' that a comparison reads is expanded, through sums and
products with numbers, down to currents, to the membrane m that the step before compared, and to its spikes s:

    m' = a m + b m s + c s + x       with s s = s

b = -a and c = 0 is a hard reset to 0, c = -a h a soft one, c = -h a soft one that is one step late, b = c = 0 none.  A
comparison with another membrane stays as it is, and is refused where the result depends on it.
"""

from dataclasses import dataclass, field
from math import isclose
from typing import Any

import torch
from torch import Tensor, fx

from export.frontend.neurons.equations import Neurons, Reset
from export.frontend.tracing import COMPARISONS, Traced, path_of, writes
from spikeclip.errors import RefusedInput

aten = torch.ops.aten

Sum = dict[frozenset[fx.Node], float]
"""A sum of products: the factor of each product of values."""

_ONE: frozenset[fx.Node] = frozenset()

_KEEPING = {
    *(getattr(aten, name).default for name in ("clone", "detach", "alias", "contiguous", "lift_fresh_copy", "type_as")),
    *(aten._to_copy.default, aten.to.dtype, aten.to.dtype_layout, aten.to.device),
}
_FILLED = {aten.zeros_like.default: 0.0, aten.new_zeros.default: 0.0, aten.ones_like.default: 1.0}


class _Unknown(Exception):
    """Raised with the reason why a membrane belongs to none of these neurons."""


@dataclass(frozen=True, eq=False)
class _Comparison:
    """`scale * membrane >= threshold`, or `>`.

    Attributes:
        calls: of the trace; several where a step compares the same twice.
        membrane: what is compared, without a factor and an offset that only the comparison has.
        scale: that factor, so that thresholds of different steps have one unit.
        threshold: in that unit.
        at_threshold: whether equality fires.
        value: of the membrane.
    """

    calls: list[fx.Node]
    membrane: fx.Node
    scale: float
    threshold: float
    at_threshold: bool
    value: Sum


@dataclass
class _Algebra:
    """Values of the traced calls as sums of products of membranes, spikes and currents."""

    constants: dict[fx.Node, Tensor]
    chains: list[list[_Comparison]] = field(default_factory=list)
    of_state: dict[fx.Node, int] = field(default_factory=dict)  # of membranes and spikes, the chain
    spikes: dict[fx.Node, fx.Node] = field(default_factory=dict)  # of comparisons, the first of the same

    def number(self, value: Any) -> float | None:
        """The number that all elements of a value equal; None if they differ, or aren't known before the input is."""
        if isinstance(value, int | float):
            return float(value)
        if not isinstance(value, fx.Node) or value.op == "output":
            return None
        if value.target in _FILLED:
            return _FILLED[value.target]
        known = self._constant(value)
        if known is None or not known.numel() or not bool((known == known.reshape(-1)[0]).all()):
            return None
        return float(known.reshape(-1)[0])

    def _constant(self, call: fx.Node) -> Tensor | None:
        """The tensor that a call returns if it depends on no input; None if it does."""
        if call not in self.constants:
            sources = call.all_input_nodes
            if call.op != "call_function" or writes(call) or any(self._constant(source) is None for source in sources):
                return None
            args: Any = fx.node.map_arg(call.args, lambda source: self.constants[source])
            kwargs: Any = fx.node.map_arg(call.kwargs, lambda source: self.constants[source])
            made = call.target(*args, **kwargs)  # type: ignore[operator]
            if not isinstance(made, Tensor):
                return None
            self.constants[call] = made
        return self.constants[call]

    def value(self, call: Any) -> Sum:
        """The sum that a value is: of states as far as they occur in it; a value without any is one current."""
        if (number := self.number(call)) is not None:
            return {_ONE: number} if number else {}
        if call in self.spikes:
            return {frozenset({self.spikes[call]}): 1.0}
        return {frozenset({call}): 1.0} if call in self.of_state else self.computed(call)

    def computed(self, call: fx.Node) -> Sum:
        """The sum that a call computes from its arguments, even of a membrane, which `value` takes as a symbol."""
        try:
            found = self._by_operator(call)
        except _Unknown:
            found = None
        states = found is not None and any(part in self.of_state for product in found for part in product)
        return found if found is not None and states else {frozenset({call}): 1.0}

    def _by_operator(self, call: fx.Node) -> Sum | None:
        match call.target:
            case (
                aten.add.Tensor
                | aten.add_.Tensor
                | aten.add.Scalar
                | aten.sub.Tensor
                | aten.sub_.Tensor
                | aten.sub.Scalar
            ):
                alpha = float(call.kwargs.get("alpha", 1))  # type: ignore[arg-type]
                sign = -alpha if "sub" in str(call.target) else alpha
                return _plus(self.value(call.args[0]), self.value(call.args[1]), sign)
            case aten.rsub.Scalar | aten.rsub.Tensor:
                return _plus(self.value(call.args[1]), self.value(call.args[0]), -1.0)
            case aten.mul.Tensor | aten.mul_.Tensor | aten.mul.Scalar:
                return self._times(self.value(call.args[0]), self.value(call.args[1]))
            case aten.div.Tensor | aten.div_.Tensor | aten.div.Scalar:
                divisor = self.number(call.args[1])
                return None if not divisor else _plus({}, self.value(call.args[0]), 1 / divisor)
            case aten.neg.default:
                return _plus({}, self.value(call.args[0]), -1.0)
            case aten.logical_not.default | aten.bitwise_not.default:
                return _plus({_ONE: 1.0}, self.value(call.args[0]), -1.0)
            case aten.where.self | aten.where.ScalarOther | aten.where.ScalarSelf | aten.where.Scalar:
                return self._either(*call.args)
            case aten.masked_fill.Scalar | aten.masked_fill.Tensor | aten.masked_fill_.Scalar:
                return self._either(call.args[1], call.args[2], call.args[0])
            case kept if kept in _KEEPING:
                return self.value(call.args[0])
        return None

    def _either(self, condition: Any, a: Any, b: Any) -> Sum:
        """`s a + (1 - s) b`."""
        fired = self.value(condition)
        return _plus(
            self._times(fired, self.value(a)), self._times(_plus({_ONE: 1.0}, fired, -1.0), self.value(b)), 1.0
        )

    def _times(self, a: Sum, b: Sum) -> Sum:
        found: Sum = {}
        for p, x in a.items():
            for q, y in b.items():
                if any(part not in self.spikes for part in p & q):
                    raise _Unknown("squares a membrane or a current")
                found[p | q] = found.get(p | q, 0.0) + x * y
        return {product: factor for product, factor in found.items() if factor}

    def compare(self, call: fx.Node) -> None:
        """Enter a comparison of a membrane with a number as a time step of a chain; any other is passed over."""
        other = self.number(call.args[1])
        if other is None or self.number(call.args[0]) is not None:
            return
        strict = call.target in (aten.gt.Scalar, aten.gt.Tensor)
        if call.target is aten.heaviside.default:
            if other not in (0.0, 1.0):
                return  # at the threshold that is part of a spike
            strict, other = other == 0.0, 0.0
        membrane, scale, offset = self._bare(call.args[0])
        threshold = other - offset
        if scale <= 0:
            return
        if membrane in self.of_state:
            last = self.chains[self.of_state[membrane]][-1]
            same = (last.scale, last.threshold, last.at_threshold) == (scale, threshold, not strict)
            if last.membrane is membrane and same:
                last.calls.append(call)
                self.spikes[call] = last.calls[0]
            return
        value = self.computed(membrane)
        parts = {part for product in value for part in product}
        before = {index for index, chain in enumerate(self.chains) if chain[-1].membrane in parts}
        if len(before) > 1:
            return
        if not before:
            self.chains.append([])
        index = before.pop() if before else len(self.chains) - 1
        self.chains[index].append(_Comparison([call], membrane, scale, threshold, not strict, value))
        self.of_state[membrane] = self.of_state[call] = index
        self.spikes[call] = call

    def _bare(self, call: Any) -> tuple[fx.Node, float, float]:
        """The parts `(m, scale, offset)` of a call that computes `scale m + offset`."""
        scale, offset = 1.0, 0.0
        while call not in self.of_state:
            if call.target in _KEEPING:
                call = call.args[0]
                continue
            number = self.number(call.args[1]) if len(call.args) > 1 and not call.kwargs else None
            match call.target:
                case aten.add.Tensor | aten.add.Scalar | aten.sub.Tensor | aten.sub.Scalar if number:
                    offset += scale * (number if "add" in str(call.target) else -number)
                case aten.mul.Tensor | aten.mul.Scalar if number not in (None, 0.0, 1.0):
                    scale *= number
                case aten.div.Tensor | aten.div.Scalar if number not in (None, 0.0, 1.0):
                    scale /= number
                case _:
                    break
            call = call.args[0]
        return call, scale, offset


def _plus(a: Sum, b: Sum, factor: float) -> Sum:
    found = dict(a)
    for product, x in b.items():
        found[product] = found.get(product, 0.0) + factor * x
    return {product: x for product, x in found.items() if x}


@dataclass(frozen=True)
class _Step:
    """`m' = a m + b m s + c s + x` in the unit of the threshold; of the first step x alone."""

    kept: float
    lost: float
    taken: float
    current: Sum


def _step(algebra: _Algebra, now: _Comparison, before: _Comparison | None) -> _Step:
    rest = {product: factor * now.scale for product, factor in now.value.items()}
    kept = lost = taken = 0.0
    if before is not None:
        m, s = before.membrane, before.calls[0]
        lost = rest.pop(frozenset({m, s}), 0.0) / before.scale
        taken = rest.pop(frozenset({s}), 0.0)
        kept = rest.pop(frozenset({m}), 0.0) / before.scale
        if before.value == {frozenset({m}): 1.0} and lost:  # the first is a current, which this step may read again
            kept, again = -lost, (kept + lost) * before.scale
            rest |= {frozenset({m}): again} if abs(again) > 1e-12 else {}
    # The first membrane is a sum of currents, whose time step is looked at where they are read.
    old = algebra.of_state.keys() - algebra.spikes.keys() - {chain[0].membrane for chain in algebra.chains}
    if any(product & old for product in rest):
        raise _Unknown("membranes that read those of several steps before, or of other neurons")
    if any(len(product) > 1 for product in rest):
        raise _Unknown("membranes that are multiplied by several numbers, or currents by spikes")
    if not any(rest):
        raise _Unknown("membranes that read no current")
    return _Step(kept, lost, taken, rest)


def _neurons(chain: list[_Comparison], steps: list[_Step], time_steps: int) -> Neurons:
    if len(chain) != time_steps:
        raise _Unknown(f"membranes of {len(chain)} time steps, where the network has {time_steps}")
    threshold, at_threshold = chain[0].threshold, chain[0].at_threshold
    common = steps[1] if time_steps > 1 else _Step(0.0, 0.0, 0.0, {})
    for now, step in zip(chain[1:], steps[1:], strict=True):
        numbers = (now.threshold, step.kept, step.lost, step.taken)
        expected = (threshold, common.kept, common.lost, common.taken)
        alike = all(isclose(a, b, rel_tol=1e-9) for a, b in zip(numbers, expected, strict=True))
        if now.at_threshold != at_threshold or not alike:
            raise _Unknown("membranes with another equation in one time step than in another")
    a, h = common.kept, threshold
    resets = {
        Reset.HARD: (-a, 0.0),
        Reset.SOFT: (0.0, -a * h),
        Reset.SOFT_LATE: (0.0, -h),
        Reset.NONE: (0.0, 0.0),
    }
    for reset, (lost, taken) in resets.items():
        if isclose(common.lost, lost, abs_tol=1e-12) and isclose(common.taken, taken, rel_tol=1e-9, abs_tol=1e-12):
            return Neurons(1 - a, 1.0, h, reset, at_threshold=at_threshold, multi_step=False)
    gone = f"{a:g} m + {common.lost:g} m s + {common.taken:g} s"
    raise _Unknown(f"membranes that go on from {gone} behind spikes s above {h:g}")


def with_inline_neurons(traced: Traced, time_steps: int) -> dict[str, Neurons]:
    """Make calls of neurons of such comparisons, in place; the equation of each, by a path of its own.

    Args:
        traced: the module's calls.
        time_steps: T.
    """
    graph, state = traced.program.graph, traced.state
    if any(call.op == "get_attr" for call in graph.nodes):
        return {}  # calls within calls, as of autocast
    algebra = _Algebra({call: state[path].detach() for call, path in traced.placeholders.items() if path is not None})
    for call in graph.nodes:
        if call.target in COMPARISONS:
            algebra.compare(call)
    found: dict[str, Neurons] = {}
    replaced: dict[fx.Node, fx.Node] = {}
    for chain in algebra.chains:
        try:
            steps = [_step(algebra, now, before) for now, before in zip(chain, [None, *chain], strict=False)]
            key = _key(traced, steps[0].current, found)
            found[key] = _neurons(chain, steps, time_steps).checked(key)
        except (_Unknown, RefusedInput) as error:
            for call in (call for comparison in chain for call in comparison.calls):
                call.meta["unknown"] = str(error)
            continue
        for comparison, step in zip(chain, steps, strict=True):
            _replace(graph, comparison, step, key, replaced)
    traced.neurons.update(found)
    return found


def _key(traced: Traced, current: Sum, taken: dict[str, Neurons]) -> str:
    """A path for neurons: that of the layer whose current they read, and a word."""
    waiting = [part for product in current for part in product]
    for call in waiting:
        if path_of(call) in traced.leaves:
            break
        waiting += [source for source in call.all_input_nodes if source not in waiting]
    stem = f"{path_of(call)}_neurons" if path_of(call) in traced.leaves else "neurons"
    count = sum(name.startswith(stem) for name in (*taken, *traced.neurons))
    return f"{stem}_{count + 1}" if count else stem


def _replace(graph: fx.Graph, comparison: _Comparison, step: _Step, key: str, replaced: dict[fx.Node, fx.Node]) -> None:
    """Put a call of the neurons `key` in the place of a step's comparison."""
    first = comparison.calls[0]

    def make(target: Any, *args: Any) -> fx.Node:
        with graph.inserting_before(first):
            made = graph.call_function(target, args)
        made.meta["nn_module_stack"] = first.meta.get("nn_module_stack", {})
        return made

    current: Any = step.current.get(_ONE)
    for product, factor in step.current.items():
        for part in product:
            scaled = replaced.get(part, part)
            scaled = scaled if factor == 1 else make(aten.mul.Tensor, scaled, factor)
            summands = (current, scaled) if isinstance(current, fx.Node) else (scaled, current)
            current = scaled if current is None else make(aten.add.Tensor, *summands)
    made = make(torch.ops.spikeclip.neurons.default, current, [], key)
    for call in comparison.calls:
        call.replace_all_uses_with(made)
        replaced[call] = made
