"""The context of an ATen operator's lowering: the nodes so far, and the operator's place in the module.

Nodes have no time.  A second request for a node with the same key returns the first one, so that a loop over time steps
in Python becomes one graph.
"""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from math import prod

import torch
from torch import Tensor, fx

from export.frontend.nodes import Node, Observed, Operation, Shape
from export.frontend.signals import ABSENT, Signal, Term
from export.frontend.tracing import Traced, path_of
from spikeclip.errors import RefusedInput


@dataclass
class Context:
    """The graph in the making.

    Attributes:
        traced: the exported program and the module's neurons.
        time_steps: T.
        images: B, images side by side in the example.
        prefix: of paths, which names and messages leave out.
        nodes: made so far.
        observed: per module path what it computes, to compare: neurons, and gates that are modules of their own.
        notes: what is worth telling.
        call: the ATen call that is being lowered.
        parameter_of: paths of the parameters among its arguments.
        calls: how often each neuron was called.
        operands: per path of a gate, the nodes of its operands in the order of the call.
    """

    traced: Traced
    time_steps: int
    images: int
    prefix: str = ""
    nodes: list[Node] = field(default_factory=list)
    observed: dict[str, Observed] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    call: fx.Node | None = None
    parameter_of: dict[fx.Node, str] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    operands: dict[str, tuple[int, int]] = field(default_factory=dict)
    _known: dict[Hashable, int] = field(default_factory=dict)

    # --- where

    @property
    def path(self) -> str:
        """The path of the module of the present call, without the prefix; empty for the module itself."""
        return self.shown(self._path)

    def shown(self, path: str) -> str:
        """A path without the prefix."""
        return path.removeprefix(self.prefix)

    @property
    def _path(self) -> str:
        """The path of the innermost module whose code makes the present call."""
        return "" if self.call is None else path_of(self.call)

    @property
    def where(self) -> str:
        """The module of the present call, as messages name it."""
        return f"module {self.path!r}" if self.path else "the module's own forward"

    def label(self, kind: str) -> tuple[str, str]:
        """Label and kind of a node of the present call: the module's path, and behind it what else it computes.

        Of a module that has parts the two are joined, since its path names them all.
        """
        if self._path in self.traced.leaves:
            return self.path, kind
        return (f"{self.path}.{kind}" if self.path else kind), ""

    def refused(self, reason: str) -> RefusedInput:
        """The refusal of the present call, by module path and operator."""
        operator = "" if self.call is None else f" ({self.call.target})"
        return RefusedInput(f"{self.where}{operator} {reason}")

    def parameter(self, position: int, keyword: str = "") -> str | None:
        """The path of the parameter that the present call has as an argument; None where it is none."""
        if self.call is None:
            return None
        args, kwargs = self.call.args, self.call.kwargs
        argument = args[position] if position < len(args) else kwargs.get(keyword)
        return self.parameter_of.get(argument) if isinstance(argument, fx.Node) else None

    # --- nodes

    def add(
        self,
        label: str | tuple[str, str],
        operation: Operation,
        shape: Shape,
        inputs: Iterable[int],
        key: Hashable | None = None,
    ) -> int:
        """Add a node and return its index, or return the index of the node that was added before with the same key.

        Args:
            label: the name that it gets, perhaps with a kind (`Node`).
            operation: what it computes.
            shape: of its output.
            inputs: indices of the nodes that it reads.
            key: what makes it the same node as an earlier one; None for never.
        """
        if key is not None and key in self._known:
            return self._known[key]
        inputs = tuple(inputs)
        static = bool(inputs) and all(self.nodes[i].static for i in inputs)
        name, kind = (label, "") if isinstance(label, str) else label
        self.nodes.append(Node(name, kind, operation, tuple(shape), inputs, static))
        index = len(self.nodes) - 1
        if key is not None:
            self._known[key] = index
        return index

    def name(self, index: int) -> str:
        """A node as messages name it: label and shape."""
        node = self.nodes[index]
        return f"{node.label!r} {list(node.shape)}"

    # --- codes

    def decode(self, term: Term) -> tuple[Tensor, Tensor]:
        """Decode a term: the (time, image) and the node's element of each of its elements; -1 where absent."""
        shape, size = term.code.shape, self.nodes[term.node].size
        for lead in range(1, min(len(shape), 3)):  # times and images are one leading dimension, or two
            if (alike := self._alike(term, lead)) is not None:
                moments, elements = alike
                return moments.view(*shape[:lead], *([1] * elements.ndim)).expand(shape), elements.expand(shape)
        moment = term.code // size
        element = term.code - moment * size
        present = term.code >= 0
        if bool(present.all()):
            return moment, element
        return moment.where(present, ABSENT), element.where(present, ABSENT)

    def encode(self, node: int, moments: Tensor, elements: Tensor) -> Tensor:
        """Codes of `elements` `[*shape]` of a node at each of `moments` `[rows]`: `[rows, *shape]`."""
        made = self.nodes[node]
        moments = moments % self.images if made.static else moments
        return moments.view(-1, *([1] * elements.ndim)) * made.size + elements

    def _alike(self, term: Term, lead: int) -> tuple[Tensor, Tensor] | None:
        """The result of `rows`, found without a division per element; None where this shortcut doesn't apply.

        It applies if no element is absent, each row belongs to one time step and image, and rows differ only by a
        multiple of the node's size: then all rows hold the same elements.
        """
        size, codes = self.nodes[term.node].size, term.code.reshape(prod(term.code.shape[:lead]), -1)
        if not codes.numel() or int(codes[0].min()) < 0 or bool(((codes[:, 0] - codes[0, 0]) % size).any()):
            return None
        first = codes[0] - codes[0, 0]
        moment = codes[0, 0] // size
        elements = codes[0] - moment * size
        one_moment = int(elements.min()) >= 0 and int(elements.max()) < size
        shifted = torch.empty_like(first)  # one for all rows: fresh memory takes longer than the subtraction
        if not one_moment or not all(torch.equal(torch.sub(row, row[0], out=shifted), first) for row in codes[1:]):
            return None
        return codes[:, 0] // size, elements.reshape(term.code.shape[lead:])

    def rows(self, term: Term, lead: int) -> tuple[Tensor, Tensor]:
        """Decode a term whose `lead` first dimensions are times and images, and whose others are elements.

        Returns:
            The (time, image) of each row, int64 `[rows]`, and the elements of the node, int64 of the other dimensions.

        Raises:
            RefusedInput: rows hold different elements, or one row holds several times or images.
        """
        if (alike := self._alike(term, lead)) is not None:
            return alike
        count = prod(term.code.shape[:lead])
        moment, element = (x.reshape(count, -1) for x in self.decode(term))
        if not bool((element == element[:1]).all()):
            raise self.refused(f"reads {self.name(term.node)} in a layout that differs from image to image")
        present = element[0] >= 0
        if not bool(present.any()):
            raise self.refused(f"reads nothing of {self.name(term.node)}")
        first = moment[:, int(present.nonzero()[0])]
        if not bool((moment[:, present] == first[:, None]).all()):
            raise self.refused(f"mixes time steps or images of {self.name(term.node)}")
        return first, element[0].reshape(term.code.shape[lead:])

    def common_moments(self, moments: list[tuple[int, Tensor]]) -> Tensor:
        """The (time, image) of each row that several nodes have in common; static nodes only say which image.

        Raises:
            RefusedInput: the nodes are read at different time steps or images.
        """
        moving = [m for node, m in moments if not self.nodes[node].static]
        if not moving:
            return moments[0][1]
        for node, found in moments:
            if not torch.equal(found, moving[0] % self.images if self.nodes[node].static else moving[0]):
                raise self.refused("adds values of different time steps or images")
        return moving[0]

    def channels(self, elements: Tensor, shape: Shape) -> Tensor | None:
        """Which channels of a map `[C', H, W]` the elements `[C, H, W]` are; None where they are no whole channels."""
        if len(shape) != 3 or elements.shape[1:] != torch.Size(shape[1:]):
            return None
        space = prod(shape[1:])
        flat = elements.reshape(len(elements), -1)
        first = flat[:, 0]
        channel = (first // space).where(first >= 0, ABSENT)
        whole = (channel[:, None] * space + torch.arange(space)).where(channel[:, None] >= 0, ABSENT)
        return channel if torch.equal(whole, flat) else None

    # --- signals

    def spiking(self, signal: Signal) -> bool:
        """Whether a signal is spikes: elements of one spiking node, none absent, with nothing added or multiplied."""
        if len(signal.terms) != 1 or signal.constant is not None or signal.time_weights is not None:
            return False
        term = signal.terms[0]
        return (
            self.nodes[term.node].spiking and term.uniform and float(term.factor) == 1 and bool((term.code >= 0).all())
        )

    def timed(self, signal: Signal) -> Signal:
        """The signal itself, if it has a time axis of its own.

        Raises:
            RefusedInput: it is a sum over time, which only the host computes.
        """
        if signal.time_weights is not None:
            raise self.refused("computes with a sum over time, which the host has; expected linear layers alone there")
        return signal
