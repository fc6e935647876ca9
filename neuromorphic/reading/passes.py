"""The passes that turn NIR's graph into ours, in their order, each with a contract.

    flat          subgraphs become nodes of the one graph                                    (`nesting`)
    ended         a graph without an input or output gets the one that nir would give it; further outputs that only show
                  a population's spikes, which every trace holds, are removed
    typed         every node gets its operation and its shapes: `Conv1d` becomes `Conv2d`, single numbers become arrays,
                  block-diagonal kernels become grouped ones                                 (`grouping`)
    spliced       nodes that only flatten are removed: their readers read their sources
    ordered       nodes are brought into topological order, and recurrent edges are found

A pass gets a `Draft` and returns a new one.  Its contract consists of functions that list what is wrong with a draft:
those in `requires` find nothing in its argument, those in `ensures` find nothing in its result.  Tests call them around
every pass, for every file and graph that they have.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import nir
import numpy as np

from neuromorphic.analysis.order import wired
from neuromorphic.analysis.recurrence import components
from neuromorphic.errors import RefusedInput, all_of
from neuromorphic.ops import (
    READERS,
    Neurons,
    Operation,
    Population,
    SelfAttention,
    Shape,
    Typed,
)
from neuromorphic.reading.documents import KNOWN
from neuromorphic.reading.draft import (
    Contract,
    Draft,
    all_are_typed,
    edges_are_known,
    none_only_flattens,
    parameters_are_full,
    shapes_agree,
    sources_come_first,
)
from neuromorphic.reading.flattening import Passage, flattened, only_flattens
from neuromorphic.reading.grouping import grouped
from neuromorphic.reading.limits import Size, check_flattening
from neuromorphic.reading.notes import notes_of
from neuromorphic.reading.parameters import check_parameters, declared_shape, without_batch


@dataclass(frozen=True)
class Pass:
    """One step from a file to a graph, with its contract.

    Attributes:
        run: the step.
        requires: contracts that hold before.
        ensures: contracts that hold after it.
    """

    run: Callable[[Draft], Draft]
    requires: tuple[Contract, ...]
    ensures: tuple[Contract, ...]


def typed(draft: Draft) -> Draft:
    """Give every node its operation and its shapes.

    Shapes follow the edges from the inputs.  On a cycle, a node gets its shape from the first source whose shape is
    known; on a cycle that no input leads to, from its own parameters.

    Raises:
        RefusedInput: a type is unknown, a node has no source, shapes don't fit, parameters are no numbers or not
            possible, or something is larger than `limits` allows.  All nodes are checked: the message has a sentence
            for each that is refused.
    """
    check_flattening(draft.fan_in, _only_flattens(draft).__contains__, draft.source)
    readers: dict[str, list[Any]] = {name: [] for name in draft.raw}
    for reader, before in draft.fan_in.items():
        for s in before:
            readers[s].append(draft.raw[reader])
    size = Size()
    found: dict[str, Typed | Shape] = {}
    faults: dict[str, str] = {}
    unled: list[str] = []
    component = components(draft.fan_in)
    waiting = sorted(draft.fan_in, key=lambda name: (component[name], name))  # sources first, but on cycles
    while waiting:
        ready = (n for n in waiting if not draft.fan_in[n] or any(s in found for s in draft.fan_in[n]))
        alone = (n for n in waiting if not faults and _starts_alone(draft, n))
        name = next(ready, None) or next(alone, None)
        if name is None:
            break
        waiting.remove(name)
        if draft.fan_in[name] and found.keys().isdisjoint(draft.fan_in[name]):
            unled.append(name)
        partial = replace(draft, typed=found)
        try:
            found[name] = typed_node = _typed_node(partial, name, readers[name])
        except RefusedInput as error:
            faults[name] = str(error)
            continue
        if isinstance(typed_node, Typed):
            size.add(typed_node.operation, typed_node.shapes, draft.where(name))
    if waiting and not faults:
        raise RefusedInput(f"{draft.source}: no input leads to {', '.join(sorted(waiting)[:4])}; expected one")
    for name in waiting:  # behind nodes that were refused
        if fault := _fault_alone(draft, name):
            faults[name] = fault
    whole = replace(draft, typed=found)
    for name in found:
        try:
            _sum_shape(whole, name)
        except RefusedInput as error:
            faults.setdefault(name, str(error))
    if faults:
        raise RefusedInput(all_of([*faults.values()], draft.source))
    size.check_steps(draft.metadata.time_steps, draft.source)
    notes = [note for name in draft.raw for note in notes_of(whole, name)]
    notes += [f"no input leads to {name} but around a cycle: it runs on its biases" for name in unled]
    metadata = replace(whole.metadata, assumed=(*whole.metadata.assumed, *notes))
    return replace(whole, metadata=metadata)


def _starts_alone(draft: Draft, name: str) -> bool:
    """Whether the input shape of a node with sources is known from its own parameters."""
    node = draft.raw[name]
    ends = isinstance(node, Passage | nir.Output)
    return bool(draft.fan_in[name]) and not ends and _own_shape(node, "input") is not None


def _fault_alone(draft: Draft, name: str) -> str | None:
    """The fault of a node whose sources were refused, as far as its own parameters say its shape; None without one."""
    node, where = draft.raw[name], draft.where(name)
    try:
        operation = _kind_of(node, where)
        if isinstance(node, nir.Input | nir.Output):
            declared_shape(node.output_type["output"], where)
        if not isinstance(node, Passage | nir.Output):
            check_parameters(node, where)
        shape = None if isinstance(node, Passage) else _own_shape(node, "input")
        if operation is not None and shape is not None:
            operation.read(node, shape, where, draft.conventions)
    except RefusedInput as error:
        return str(error)
    return None


def spliced(draft: Draft) -> Draft:
    """Remove nodes that only flatten; an output that arrives on two paths is then a source twice.

    Raises:
        RefusedInput: attention to anything but the spikes of one population.
    """
    gone = _only_flattens(draft)

    def seen_through(name: str) -> tuple[str, ...]:
        before = draft.fan_in[name]
        return tuple(s for b in before for s in (seen_through(b) if b in gone else (b,)))

    fan_in = {name: seen_through(name) for name in draft.fan_in if name not in gone}
    result = replace(draft, fan_in=fan_in, typed={name: draft.typed[name] for name in fan_in})
    for name, before in fan_in.items():
        if isinstance(result.operation(name), SelfAttention):
            kinds = [result.operation(s) for s in before]
            if len(kinds) != 1 or not (isinstance(kinds[0], Neurons) and kinds[0].sends_spikes):
                raise RefusedInput(
                    f"{draft.where(name)} reads {' + '.join(before[:4])}; expected one population, of which Q, K and V "
                    "are thirds"
                )
    return result


def ordered(draft: Draft) -> Draft:
    """Find the recurrent edges and a topological order.

    Raises:
        RefusedInput: a cycle without a neuron and without a `Delay`.
    """
    operations = {name: draft.operation(name) for name in draft.fan_in}
    recurrent, order = wired(operations, draft.fan_in, draft.source)
    return replace(draft, recurrent=recurrent, order=order)


def ended(draft: Draft) -> Draft:
    """Add an `Input` before each node without sources, an `Output` behind each node that nothing reads, as nir does.

    Outputs only where a graph has none at all: a node that nothing reads beside an output is a probe, and every trace
    holds it.  Superfluous outputs are removed (`_probes`).
    """
    raw, fan_in, notes = dict(draft.raw), dict(draft.fan_in), list(draft.metadata.assumed)
    read = {s for before in fan_in.values() for s in before}
    wired_in = {name for name in fan_in if name in read or fan_in[name] or len(fan_in) == 1}
    roots = [name for name in fan_in if name in wired_in and not fan_in[name]]
    leaves = [name for name in fan_in if name in wired_in and name not in read]
    if any(isinstance(node, nir.Output) for node in raw.values()):
        leaves = []
    for kind, word, ends in ((nir.Input, "input", roots), (nir.Output, "output", leaves)):
        for end in ends:
            name = word if len(ends) == 1 else f"{word}_{end}"
            shape = _own_shape(raw[end], word)
            if shape is None or name in raw or isinstance(raw[end], Passage | nir.Input | nir.Output):
                continue
            raw[name] = kind(np.array(shape))
            if word == "input":
                fan_in[name], fan_in[end] = (), (name,)
            else:
                fan_in[name] = (end,)
            named = "" if len(ends) == 1 else f" as {name!r}"
            notes.append(f"the file names no {word}; {end!r} is taken for it{named}")
    for name, population in _probes(replace(draft, raw=raw, fan_in=fan_in)).items():
        del raw[name], fan_in[name]
        notes.append(f"the output {name!r} shows the spikes of {population!r}: they stand in traces under its name")
    metadata = replace(draft.metadata, assumed=tuple(notes))
    return replace(draft, raw=raw, fan_in=fan_in, metadata=metadata)


def _probes(draft: Draft) -> dict[str, str]:
    """Superfluous outputs, with the population whose spikes they show.

    Of several outputs, the only one that shows something else, as the currents of a head, stays; where all show
    spikes, the first by name stays.  Where two show something else, none is superfluous.
    """
    read = {s for before in draft.fan_in.values() for s in before}
    outputs = sorted(name for name, node in draft.raw.items() if isinstance(node, nir.Output) and name not in read)
    shown = {name: population for name in outputs if (population := _population(draft, name)) is not None}
    others = len(outputs) - len(shown)
    if others > 1:
        return {}
    return {name: shown[name] for name in (shown if others else [*shown][1:])}


def _population(draft: Draft, output: str) -> str | None:
    """The population whose spikes, and nothing else, arrive at an output, perhaps flattened; None if there is none."""
    name, seen = output, {output}
    while len(before := draft.fan_in[name]) == 1 and before[0] not in seen:
        (name,) = before
        seen.add(name)
        node = draft.raw[name]
        if not only_flattens(node):
            kind = READERS.get(type(node))
            return name if kind is not None and issubclass(kind, Population) else None
    return None


def _own_shape(node: Any, end: str) -> Shape | None:
    """The shape of a node's input or output as nir infers it from its parameters; None where it can't."""
    found = node.input_type if end == "input" else node.output_type
    values = None if found is None else found.get(end)
    if values is None or None in list(np.atleast_1d(values)):
        return None
    try:
        return tuple(int(n) for n in np.atleast_1d(values))
    except (TypeError, ValueError, OverflowError):  # a damaged file has something else in place of numbers
        return None


PASSES = (
    Pass(ended, (edges_are_known,), (edges_are_known,)),
    Pass(typed, (edges_are_known,), (all_are_typed, shapes_agree, parameters_are_full)),
    Pass(spliced, (all_are_typed, shapes_agree), (none_only_flattens, edges_are_known, shapes_agree)),
    Pass(ordered, (none_only_flattens, edges_are_known), (sources_come_first,)),
)
"""Behind `nesting.flat`, in this order."""


def _only_flattens(draft: Draft) -> set[str]:
    return {name for name, node in draft.raw.items() if only_flattens(node)}


def _typed_node(draft: Draft, name: str, readers: list[Any]) -> Typed | Shape:
    node, sources, where = draft.raw[name], draft.fan_in[name], draft.where(name)
    operation = _kind_of(node, where)
    if isinstance(node, nir.Input):
        if sources:
            raise RefusedInput(f"{where} is an input and has sources ({', '.join(sources[:4])}); expected none")
        outputs = [node.output_type["output"] for node in draft.raw.values() if isinstance(node, nir.Output)]
        shape = without_batch(declared_shape(node.input_type["input"], where), readers, outputs)
    else:
        if not sources:
            raise RefusedInput(f"{where} has no sources; expected at least one edge into it")
        shape = _as_neurons(node, operation, _sum_shape(draft, name))
    if isinstance(node, nir.Output):
        declared_shape(node.output_type["output"], where)
    if not isinstance(node, Passage):
        check_parameters(node, where)
    if isinstance(node, nir.Conv2d):
        node = grouped(node, name, draft.metadata, where)
    if operation is None:
        return flattened(node, shape, where)
    return operation.read(node, shape, where, draft.conventions)


def _as_neurons(node: Any, kind: type[Operation] | None, arriving: Shape) -> Shape:
    """The input shape of a node; where a vector arrives at neurons whose parameters have the shape of a map, that map.

    NIR has no node that makes a map of a vector, such as a matrix sends.
    """
    if kind is None or not issubclass(kind, Neurons) or len(arriving) != 1:
        return arriving
    own = _own_shape(node, "input") or ()
    while len(own) > 1 and own[0] == 1:  # a batch's axis
        own = own[1:]
    return own if len(own) > 1 and prod(own) == prod(arriving) else arriving


def _kind_of(node: Any, where: str) -> type[Operation] | None:
    """The operation as which a node is read; None for one that only flattens.

    Raises:
        RefusedInput: no operation is read from its type.
    """
    operation = READERS.get(type(node))
    if operation is None and not only_flattens(node):
        raise RefusedInput(f"{where} is of type {type(node).__name__}; expected one of {KNOWN}")
    return operation


def _sum_shape(draft: Draft, name: str) -> Shape:
    """The common output shape of a node's sources, as far as they are typed."""
    known = [s for s in draft.fan_in[name] if s in draft.typed]
    shapes = {draft.leaves(s) for s in known}
    if not known:  # of a cycle that no input leads to
        return _own_shape(draft.raw[name], "input") or ()
    if len(shapes) > 1:
        listed = ", ".join(f"{s} {list(draft.leaves(s))}" for s in known[:4])
        raise RefusedInput(f"{draft.where(name)} sums outputs of different shapes: {listed}")
    return shapes.pop()
