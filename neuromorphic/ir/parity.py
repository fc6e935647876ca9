"""Parity: compares two runs: frames, every spike of every node and step, outputs, scores, predictions.

In integers also every final membrane.  Numbers that are proven exact have to be equal in every bit; others may differ
by rounding, to an extent that the report states.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import RefusedInput
from neuromorphic.ir.shown import Shown
from neuromorphic.ir.trace import SpikeTrain, Trace


@dataclass(frozen=True)
class Mismatch:
    """The first difference of two traces: in the earliest image, then the earliest step, then the first node.

    Attributes:
        image, step: counted from 0.
        node: name of the population.
        index: of the neuron in the population, as (channel, row, column).
        expected, found: whether the reference and the trace have a spike there.
    """

    image: int
    step: int
    node: str
    index: tuple[int, ...]
    expected: bool
    found: bool

    def __str__(self) -> str:
        seen = "spiked" if self.found else "stayed silent"
        return f"image {self.image}, step {self.step}, node {self.node}, neuron {list(self.index)} {seen}"


@dataclass(frozen=True)
class NodeParity:
    """How many spikes of a population, and how many of its final membranes, were compared, and how many differ."""

    compared: int
    mismatches: int
    membranes_compared: int = 0
    membrane_mismatches: int = 0

    def __add__(self, other: "NodeParity") -> "NodeParity":
        """The counts of both, which are of different images."""
        return NodeParity(
            self.compared + other.compared,
            self.mismatches + other.mismatches,
            self.membranes_compared + other.membranes_compared,
            self.membrane_mismatches + other.membrane_mismatches,
        )


ROUNDING = 1e-4
"""The largest difference by rounding of numbers that no proof covers, relative to the largest of them."""


@dataclass(frozen=True)
class NumberParity:
    """The comparison of two arrays of numbers.

    Attributes:
        compared: how many numbers.
        differ: how many of them are not equal.
        difference: the greatest absolute difference.
        tolerance: the greatest difference that is allowed; 0 where the numbers are proven exact.
        largest: the greatest magnitude of the expected numbers.
    """

    compared: int
    differ: int
    difference: float
    tolerance: float
    largest: float

    @classmethod
    def of(cls, found: NDArray[Any], expected: NDArray[Any], rounding: float = 0.0) -> Self:
        """The comparison of two arrays of one shape, which may differ by `rounding` times the largest number."""
        apart = np.abs(found - expected)
        largest = float(np.abs(expected).max(initial=0.0))
        return cls(apart.size, int((apart != 0).sum()), float(apart.max(initial=0.0)), rounding * largest, largest)

    @classmethod
    def joined(cls, parts: Sequence["NumberParity"]) -> Self:
        """The comparison of all parts together, with the same relative tolerance."""

        def greatest(name: str) -> float:
            return float(np.max([getattr(part, name) for part in parts]))  # nan, where one is

        compared, differ = sum(part.compared for part in parts), sum(part.differ for part in parts)
        return cls(compared, differ, greatest("difference"), greatest("tolerance"), greatest("largest"))

    @property
    def agree(self) -> bool:
        """Whether no difference is greater than allowed; one that is not a number is."""
        return self.difference <= self.tolerance

    def __str__(self) -> str:
        if not self.differ:
            return f"{self.compared:,} compared, equal in every bit"
        allowed = f"{self.tolerance:.3g} for rounding" if self.tolerance else "none, since they are exact"
        return (
            f"{self.compared:,} compared, {self.differ:,} differ, by up to {self.difference:.3g} "
            f"(allowed: {allowed}); the largest is {self.largest:.3g}"
        )


@dataclass(frozen=True, repr=False, eq=False)
class ParityReport(Shown):
    """The outcome of a comparison.

    Attributes:
        images: number of images compared.
        nodes: by population, in topological order.
        first_mismatch: None where every spike agrees.
        outputs: of the real-valued outputs.
        scores: of the readout's scores.
        predictions_agree: number of images with the same prediction.
        frames: of the frames that the graph's file and the checkpoint make from the same images; None where both runs
            were given the same frames.
        parameters: a sentence for each node whose parameters are not the checkpoint's; None where nobody compared.
    """

    images: int
    nodes: dict[str, NodeParity]
    first_mismatch: Mismatch | None
    outputs: NumberParity
    scores: NumberParity
    predictions_agree: int
    frames: NumberParity | None = None
    parameters: tuple[str, ...] | None = None

    @classmethod
    def joined(cls, parts: Sequence["ParityReport"]) -> Self:
        """The report on all images of `parts`, which have the same populations, in their order."""
        nodes, images, first = dict(parts[0].nodes), 0, None
        for part in parts[1:]:
            nodes = {name: node + part.nodes[name] for name, node in nodes.items()}
        for part in parts:
            if first is None and part.first_mismatch is not None:
                first = replace(part.first_mismatch, image=images + part.first_mismatch.image)
            images += part.images
        made = [part.frames for part in parts if part.frames is not None]
        return cls(
            images=images,
            nodes=nodes,
            first_mismatch=first,
            outputs=NumberParity.joined([part.outputs for part in parts]),
            scores=NumberParity.joined([part.scores for part in parts]),
            predictions_agree=sum(part.predictions_agree for part in parts),
            frames=NumberParity.joined(made) if made else None,
        )

    def allowing(self, rounding: float) -> "ParityReport":
        """The same report, where outputs and scores may differ by `rounding` times the largest number."""

        def allowed(numbers: NumberParity) -> NumberParity:
            return replace(numbers, tolerance=rounding * numbers.largest)

        return replace(self, outputs=allowed(self.outputs), scores=allowed(self.scores))

    @property
    def output_difference(self) -> float:
        """The greatest absolute difference of the real-valued outputs."""
        return self.outputs.difference

    @property
    def spikes_compared(self) -> int:
        """Neurons times steps times images, over all populations."""
        return sum(node.compared for node in self.nodes.values())

    @property
    def mismatches(self) -> int:
        """How many spikes differ."""
        return sum(node.mismatches for node in self.nodes.values())

    @property
    def membranes_compared(self) -> int:
        """Neurons times images, over all populations; 0 where a trace has no membranes."""
        return sum(node.membranes_compared for node in self.nodes.values())

    @property
    def membrane_mismatches(self) -> int:
        """How many final membranes differ."""
        return sum(node.membrane_mismatches for node in self.nodes.values())

    @property
    def exact(self) -> bool:
        """The verdict: whether all that was compared agrees, numbers within their tolerance."""
        numbers = (self.outputs, self.scores, *(() if self.frames is None else (self.frames,)))
        spikes = self.mismatches == self.membrane_mismatches == 0
        agree = self.predictions_agree == self.images and all(each.agree for each in numbers)
        return spikes and agree and not self.parameters

    def title(self) -> str:
        """The outcome in one line."""
        return (
            f"{self.spikes_compared:,} spikes of {self.images} images compared, {self.mismatches:,} mismatches; "
            f"{self.predictions_agree} predictions agree"
            + (f"; first: {self.first_mismatch}" if self.first_mismatch is not None else "")
        )

    def rows(self) -> list[dict[str, Any]]:
        """A row for each population."""
        return [{"population": name, **asdict(node)} for name, node in self.nodes.items()]

    def to_dict(self) -> dict[str, Any]:
        """The report as a JSON-compatible dictionary."""
        first = self.first_mismatch
        return {
            "exact": self.exact,
            "images": self.images,
            "spikes_compared": self.spikes_compared,
            "mismatches": self.mismatches,
            "membranes_compared": self.membranes_compared,
            "membrane_mismatches": self.membrane_mismatches,
            "first_mismatch": None if first is None else {**asdict(first), "index": list(first.index)},
            "nodes": {name: asdict(node) for name, node in self.nodes.items()},
            "frames": None if self.frames is None else asdict(self.frames),
            "parameters": None if self.parameters is None else list(self.parameters),
            "outputs": asdict(self.outputs),
            "scores": asdict(self.scores),
            "output_difference": self.output_difference,
            "predictions_agree": self.predictions_agree,
        }


def compare(trace: Trace, reference: Trace, rounding: float = 0.0) -> ParityReport:
    """Compare every spike of `trace` with `reference`, and every final membrane where both have them.

    Args:
        trace: of a run.
        reference: the expected trace.
        rounding: tolerance of outputs and scores, relative to the largest number; 0 where they are proven exact.

    Raises:
        RefusedInput: the traces are not of the same graph, precision, number of images or steps.
    """
    if set(trace.spikes) != set(reference.spikes):
        odd = sorted(set(trace.spikes) ^ set(reference.spikes))
        raise RefusedInput(f"traces of different graphs: only one of them has {', '.join(odd[:4])}")
    if trace.outputs.shape != reference.outputs.shape:
        raise RefusedInput(
            f"traces of different runs: outputs {list(trace.outputs.shape)} and {list(reference.outputs.shape)}"
        )
    shapes = [{name: values.shape for name, values in each.further.items()} for each in (trace, reference)]
    if shapes[0] != shapes[1]:
        raise RefusedInput(f"traces of different outputs: further ones are {shapes[0]} and {shapes[1]}")
    if trace.precision != reference.precision:
        raise RefusedInput(f"traces of different precision: {trace.precision} and {reference.precision}")
    if not _related(trace.graphs, reference.graphs):
        raise RefusedInput("traces of different graphs: of other parameters or edges")
    nodes: dict[str, NodeParity] = {}
    first: tuple[tuple[int, int, int], Mismatch] | None = None
    for position, (name, train) in enumerate(trace.spikes.items()):
        other = reference.spikes[name]
        if train.shape != other.shape:
            raise RefusedInput(f"node {name!r} has the shape {list(train.shape)} here, {list(other.shape)} there")
        difference = np.bitwise_xor(train.bits, other.bits)
        wrong = int(np.bitwise_count(difference).sum(dtype=np.int64))
        compared = train.bits.shape[0] * train.bits.shape[1] * train.neurons
        nodes[name] = NodeParity(compared, wrong, *_membranes(name, trace, reference))
        if wrong:
            found = _first(name, train, difference)
            rank = (found.image, found.step, position)
            if first is None or rank < first[0]:
                first = (rank, found)
    return ParityReport(
        images=trace.images,
        nodes=nodes,
        first_mismatch=None if first is None else first[1],
        outputs=NumberParity.of(_all_outputs(trace), _all_outputs(reference), rounding),
        scores=NumberParity.of(trace.scores, reference.scores, rounding),
        predictions_agree=int((trace.predictions == reference.predictions).sum()),
    )


def _all_outputs(trace: Trace) -> NDArray[np.float32]:
    """The numbers of all outputs, flattened."""
    return np.concatenate([trace.outputs.ravel(), *(trace.further[name].ravel() for name in sorted(trace.further))])


def _related(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two traces may be of one graph, or one of the graph that the other's was made from, as integers are."""
    return not one or not other or one[0] in other or other[0] in one


def compare_common(trace: Trace, reference: Trace) -> ParityReport:
    """`compare`, for the populations that the reference has: some may have no layer in PyTorch."""
    common = {name: train for name, train in trace.spikes.items() if name in reference.spikes}
    return compare(replace(trace, spikes=common), reference)


def _membranes(name: str, trace: Trace, reference: Trace) -> tuple[int, int]:
    """How many final membranes were compared, and how many differ."""
    if trace.membranes is None or reference.membranes is None:
        return 0, 0
    v, expected = trace.membranes[name], reference.membranes[name]
    return v.size, int((v != expected).sum())


def _first(name: str, train: SpikeTrain, difference: np.ndarray) -> Mismatch:
    image, step, byte = (int(i[0]) for i in np.nonzero(difference))
    bit = int(np.argmax(np.unpackbits(difference[image, step, byte])))
    neuron = 8 * byte + bit
    found = bool(train.bits[image, step, byte] >> (7 - bit) & 1)
    index = tuple(int(i) for i in np.unravel_index(neuron, train.shape))
    return Mismatch(image, step, name, index, expected=not found, found=found)
