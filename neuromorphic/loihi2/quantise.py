"""Post-training quantisation: a float graph and calibration frames become the integers of the chip.

1. Every stream gets its unit λ.  If its numbers are integers of the chip in some unit already, it gets that, and no
   number changes (`whole`).  Else it gets, of the possible units (`units`), the one whose weights, rounded to nearest,
   change the fewest spikes at the neurons, compared with the float graph's, on the float graph's own inputs.
2. In topological order, on inputs that are quantised by then, weights are rounded so that their errors cancel
   (`rounding`), biases are corrected by the mean error that is left, and the resulting spikes go to the next node.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from neuromorphic.analysis.fingerprint import lineage
from neuromorphic.analysis.fusion import fused
from neuromorphic.analysis.soft_resets import with_soft_resets
from neuromorphic.analysis.streams import Stream, host_nodes, streams
from neuromorphic.errors import RefusedInput, check_choice
from neuromorphic.execution.frames import per_step, steps_of, still
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.loihi2.calibrate import Calibration, IntegerWeights, Spikes
from neuromorphic.loihi2.filters import unfiltered
from neuromorphic.loihi2.folding import folded
from neuromorphic.loihi2.integers import (
    dequantised,
    input_scale,
    input_unit,
    integers,
    pooled_unit,
    scaled,
    weights,
    with_snapped_biases,
)
from neuromorphic.loihi2.populations import neurons_of, rounded, with_thresholds
from neuromorphic.loihi2.relays import relayed
from neuromorphic.loihi2.rounding import Rounding, mean_change, round_in_turn, round_to_nearest, windows
from neuromorphic.loihi2.scheme import KEY, Choice, Granularity, Scheme
from neuromorphic.loihi2.supported import check_supported
from neuromorphic.loihi2.units import Units
from neuromorphic.loihi2.whole import TOLERANCE, reached, whole_readout
from neuromorphic.ops import Affine, AnyOperation, Conv2d, Delay, Scale, Weighted
from neuromorphic.ops.operation import Biased
from neuromorphic.ops.widths import THRESHOLD_BITS, WEIGHT_MOST

Progress = Callable[[int, int, str], None]


def quantise(
    graph: Graph,
    frames: NDArray[np.float32],
    granularity: Granularity = "layer",
    rounding: Rounding = "in turn",
    progress: Progress = lambda done, total, name: None,
) -> tuple[Graph, Scheme]:
    """The integer graph of a float graph, and its scheme; arguments and errors as of `quantised`."""
    _, whole, scheme = quantised(graph, frames, granularity, rounding, progress)
    return whole, scheme


def calibrate(
    graph: Graph,
    frames: NDArray[np.float32],
    granularity: Granularity = "layer",
    rounding: Rounding = "in turn",
    progress: Progress = lambda done, total, name: None,
) -> tuple[Graph, Scheme]:
    """A float graph whose numbers are the chip's, and its scheme; arguments and errors as of `quantised`."""
    floats, _, scheme = quantised(graph, frames, granularity, rounding, progress)
    return floats, scheme


def quantised(
    graph: Graph,
    frames: NDArray[np.float32],
    granularity: Granularity = "layer",
    rounding: Rounding = "in turn",
    progress: Progress = lambda done, total, name: None,
) -> tuple[Graph, Graph, Scheme]:
    """A float graph whose numbers are the chip's, the integer graph of the same numbers, and the scheme between them.

    The scheme is in the integer graph's metadata, too, as in a graph that was read from a file (`file.integer_graph`).

    Args:
        graph: a validated graph of floats, whose metadata says T.
        frames: calibration images, float32 `[N, *input shape]`, as `encode` returns them for `graph`; or
            `[N, T, *input shape]`, one frame per step.
        granularity: what shares an exponent of weights: a layer, or each output channel.
        rounding: of weights: `in turn`, so that errors cancel, or `nearest`.
        progress: told (populations done, populations in all, the name of the last).

    Raises:
        RefusedInput: the graph has neurons or sums that the chip does not have, by name; or numbers so large or small
            that units of them leave the range of floats.
    """
    check_choice("granularity", granularity, get_args(Granularity))
    check_choice("rounding", rounding, get_args(Rounding))
    with _naming(graph):
        return _quantised(graph, frames, granularity, rounding, progress)


@contextmanager
def _naming(graph: Graph) -> Iterator[None]:
    """Put the file's name before errors inside; arithmetic that overflows is refused."""
    try:
        with np.errstate(divide="raise", over="raise", invalid="raise"):
            yield
    except RefusedInput as error:  # of a population or a stream, which name their nodes only
        named = str(error).startswith(graph.source)
        raise error if named else RefusedInput(f"{graph.source}: precision loihi2: {error}") from error
    except (ArithmeticError, np.linalg.LinAlgError) as error:
        raise RefusedInput(
            f"{graph.source}: precision loihi2: its numbers, or sums of them, are too large or too small for units "
            f"({error})"
        ) from error


def with_scheme(graph: Graph, scheme: Scheme) -> Graph:
    """A graph with its scheme in the metadata, as in a file."""
    document = {**graph.metadata.document, KEY: scheme.to_dict()}
    return replace(graph, metadata=replace(graph.metadata, document=document))


def _quantised(
    graph: Graph, frames: NDArray[np.float32], granularity: Granularity, rounding: Rounding, progress: Progress
) -> tuple[Graph, Graph, Scheme]:
    steps = steps_of(graph)
    if graph.precision == "loihi2":
        raise RefusedInput(f"{graph.source} is quantised already; expected floats")
    length = steps if still(graph, frames) else frames.shape[1]  # recordings to calibrate on may have another length
    per_step(replace(graph, metadata=replace(graph.metadata, time_steps=length)), frames)
    work = _Work(graph, frames, (steps, length), granularity)
    lossy: set[str] = set()
    for stream in streams(work.graph):
        lossy.update(() if work.choose_unit(stream) else stream.synapses)
    work.choose_host_units()
    done = 0
    for node in work.graph.nodes.values():
        if node.spiking:
            work.fire(node.name)
            done += 1
            progress(done, len(graph.populations), node.name)
        elif node.name in lossy and isinstance(node.operation, Weighted):
            if node.operation.biased:
                work.round(node, rounding)
            else:
                work.round_factors(node, node.operation)
    work.judge()
    integer = integers(work.graph, work.scheme)
    floats = replace(work.with_kept(dequantised(work.graph, integer, work.scheme)), made_of=lineage(graph))
    return floats, with_scheme(replace(integer, made_of=lineage(floats)), work.scheme), work.scheme


class _Work:
    """A scheme in the making, and the graph with the numbers that its integers stand for.

    Args:
        graph: of floats, as `quantised` gets it.
        frames: to calibrate on.
        time_steps: of a run, and of the calibration frames.
        granularity: of the weights' exponents.

    Attributes:
        given: the prepared graph (`prepared`), with its own numbers.
        graph: the same, whose numbers become the chip's one after the other.
        scheme: so far.
        spikes: on the calibration frames, by population: of `graph` where it is quantised already.
        streams: the stream of every node with synapses, as soon as it has a unit.
        unbiased: nodes whose biases are not corrected.
        kept: nodes whose numbers are the chip's as they are given.
    """

    def __init__(
        self, graph: Graph, frames: NDArray[np.float32], time_steps: tuple[int, int], granularity: Granularity
    ) -> None:
        steps, length = time_steps
        record = {"images": len(frames), "sha256": hashlib.sha256(np.ascontiguousarray(frames).tobytes()).hexdigest()}
        unfactored = prepared(graph)
        check_supported(unfactored)
        self.given = _noting_zero_frames(unfactored, frames)
        self.graph = rounded(self.given)
        change = {node.name: _decay_change(node, self.graph.nodes[node.name]) for node in self.given.populations}
        same = [name for name, relative in change.items() if not relative]
        nearly = [name for name, relative in change.items() if relative <= TOLERANCE]
        self.scheme = Scheme(granularity, 1.0, {}, {}, {}, {}, {}, record)
        self.units = Units(self.graph, 1.0, steps, same, nearly)
        if not self._frames_are_integers(frames):
            scale = input_scale(graph, frames)
            self.scheme = replace(self.scheme, input_scale=scale)
            self.units = Units(self.graph, scale, steps, same, nearly)
        scale = self.scheme.input_scale
        reference = graph
        if len(graph.populations) != len(self.given.populations):  # relays, of which no certificate of the file knows
            reference = replace(self.given, metadata=replace(self.given.metadata, certificate={}))
        self.calibration = Calibration(reference, frames, (scaled(frames, scale) / scale).astype(np.float32), length)
        # On a cycle every population is before every other: those that aren't quantised yet send the floats' spikes.
        self.cyclic = bool(graph.recurrent) or _reads_ahead(graph)
        self.spikes: Spikes = self.calibration.spikes if self.cyclic else {}
        self.streams: dict[str, Stream] = {}
        self.unbiased = _before_delays(self.graph) | _undriven(self.graph, self.units)
        self.kept: set[str] = set()

    def _frames_are_integers(self, frames: NDArray[np.float32]) -> bool:
        """Whether frames are integers that the chip reads as they are, by synapses that are the chip's already."""
        if self.graph.metadata.preprocessing is not None or not np.array_equal(frames, scaled(frames, 1.0)):
            return False
        first = [stream for stream in streams(self.graph) if _reads_input(self.graph, stream)]
        return bool(first) and all(self.units.whole(stream, self.scheme) is not None for stream in first)

    def choose_unit(self, stream: Stream) -> bool:
        """Give a stream its unit, and its nodes their exponents; returns whether all its weights stay as they are."""
        whole, unit = self.units.whole(stream, self.scheme), self.units.exact(stream, self.scheme)
        exact = unit is not None
        if whole is not None:
            as_it_is = whole.units[stream.populations[0]]
            like = self.units.like_floats(stream, self.scheme, as_it_is)
            if like or not exact or self.units.is_stated(stream, self.scheme, as_it_is):
                self._chosen(stream, whole, Choice(like, as_it_was=True))
                self.kept.update(stream.nodes)
                return True
        if unit is None:
            units = self.units.candidates(stream, self.scheme)
            unit = units[0] if len(units) == 1 else min(units, key=lambda u: self._disagreement(stream, u))
        self._chosen(stream, self.units.scheme(stream, self.scheme, unit), Choice(exact))
        return exact

    def _chosen(self, stream: Stream, scheme: Scheme, choice: Choice) -> None:
        self.streams.update(dict.fromkeys(stream.synapses, stream))
        self.scheme = scheme.adding(populations=dict.fromkeys(stream.populations, choice))

    def _disagreement(self, stream: Stream, unit: float) -> float:
        """Spikes per image and step that a unit changes in a stream's populations, on the inputs of the float graph."""
        scheme = self.units.scheme(stream, self.scheme, unit)
        changed: dict[str, AnyOperation] = {}
        known: dict[str, IntegerWeights] = {}
        for name in stream.synapses:
            node = self.graph.nodes[name]
            if isinstance(node.operation, Weighted):
                read = input_unit(self.graph, scheme, node)
                integer = weights(node.operation.weights, name, read, scheme)
                changed[name] = node.operation.with_weights(integer * np.float32(unit / read))
                known[name] = IntegerWeights(integer, unit / read)
        graph = with_snapped_biases(self.graph.with_operations(changed), scheme)
        disagreeing = 0.0
        for name in stream.populations:
            spikes = self.calibration.judged(graph, name, known)
            disagreeing += self.calibration.disagreement(name, spikes) * spikes[0, 0].size
        return disagreeing

    def choose_host_units(self) -> None:
        """Give each node of the host its unit: one in which its numbers are integers, else its largest weight 127."""
        host = host_nodes(self.graph)
        for node in self.graph.nodes.values():
            if node.name not in host or node.name in self.graph.inputs:
                continue
            unit, scheme, exponent = pooled_unit(self.graph, self.scheme, node), self.scheme, 0
            if isinstance(node.operation, Weighted):
                read, found = unit, whole_readout(node.operation, unit)
                if found is not None:
                    unit, exponent = found
                    self.kept.add(node.name)
                elif node.operation.weights.any():
                    unit = read * float(np.abs(node.operation.weights).max()) / WEIGHT_MOST
                scheme = scheme.adding(exponents={node.name: (exponent,)}, clipping={node.name: (1.0,)})
            self.scheme = scheme.adding(units={node.name: unit})

    def round(self, node: Node, rounding: Rounding) -> None:
        """Round a node's weights, given its inputs of the quantised graph, and correct its bias by the mean change."""
        operation = node.operation
        if not isinstance(operation, Weighted):
            raise TypeError(f"node {node.name!r} has no weights")
        exponents = np.asarray(self.scheme.exponents[node.name], np.float64)[:, None]
        step = self.scheme.units[node.name] / input_unit(self.graph, self.scheme, node) * 2.0**exponents
        flat = operation.weights.reshape(len(operation.weights), -1).astype(np.float64)
        maps = self.calibration.maps
        after = windows(node, maps(self.graph, node, self.spikes))
        whole = round_in_turn(flat / step, after) if rounding == "in turn" else round_to_nearest(flat / step)
        before = windows(node, maps(self.graph, node, self.calibration.spikes))
        change = np.zeros(1) if node.name in self.unbiased else mean_change(flat, before, whole * step, after)
        bias = (operation.bias_values + change).astype(np.float32)
        weight = (whole * step).reshape(operation.weights.shape).astype(np.float32)
        scheme = self.units.with_room(self.streams[node.name], self.scheme, self.graph, node.name, bias)
        if scheme is None:  # the weights are too small beside such a bias
            bias, scheme = operation.bias_values, self.scheme
        self.scheme = scheme
        self._replace(node, operation.with_weights(weight).with_bias(bias))

    def round_factors(self, node: Node, operation: Affine | Scale | Conv2d) -> None:
        """Round the weights of a node to nearest, of which each neuron has one: no other can cancel its error."""
        read = input_unit(self.graph, self.scheme, node)
        whole = weights(operation.weights, node.name, read, self.scheme)
        self._replace(node, operation.with_weights((whole * (self.scheme.units[node.name] / read)).astype(np.float32)))

    def fire(self, name: str) -> None:
        """Round a population's thresholds, and keep its spikes for the nodes behind it."""
        if name not in self.kept:
            self._round_thresholds(name)
        if self.cyclic:
            self.spikes = self.calibration.all(self.graph)
        else:
            self.spikes = {**self.spikes, name: self.calibration.fired(self.graph, name, self.spikes)}

    def _round_thresholds(self, name: str) -> None:
        form, unit = self.units.chip_form(name), self.scheme.units[name]
        count = form.threshold / (form.gain * unit)
        # A unit such as 1/99 is no float: a count that is an integer but for that counts as one.
        exact = self.scheme.populations[name].exact
        node = self.graph.nodes[name]
        nearest = np.round(count)
        whole = np.floor(count * (1 + 4 * np.finfo(np.float64).eps)) if exact else nearest
        equal = reached(neurons_of(node).threshold) & (np.abs(count - nearest) <= TOLERANCE * nearest)
        whole = np.where(equal, np.maximum(nearest - 1, 0), whole)
        self._replace(node, with_thresholds(neurons_of(node), np.minimum(whole, 2**THRESHOLD_BITS - 1), unit, equal))

    def with_kept(self, graph: Graph) -> Graph:
        """`graph` with the operations of the nodes that are kept, as they are given."""
        return graph.with_operations({name: self.given.nodes[name].operation for name in self.kept})

    def judge(self) -> None:
        """Note in the scheme which fraction of each population's spikes differs from the float graph's."""
        chosen = {
            name: replace(choice, disagreement=self.calibration.disagreement(name, self.spikes[name]))
            for name, choice in self.scheme.populations.items()
        }
        self.scheme = replace(self.scheme, populations=chosen)

    def _replace(self, node: Node, operation: AnyOperation) -> None:
        self.graph = with_snapped_biases(self.graph.with_operations({node.name: operation}), self.scheme)


def prepared(graph: Graph) -> Graph:
    """`graph`, in floats, with the structure that the chip needs: synapses read spikes, delays fit into synapses."""
    filtering = relayed(unfiltered(with_soft_resets(graph)))
    host = host_nodes(filtering)
    products = [n.name for n in filtering.nodes.values() if isinstance(n.operation, Biased) and n.name not in host]
    return folded(fused(filtering, products))


def _decay_change(floats: Node, chip: Node) -> float:
    """The largest relative change of a population's decays by rounding to the chip's."""
    pairs = [
        (getattr(floats.operation, key).astype(np.float64), getattr(chip.operation, key))
        for key in ("decay", "current_decay")
        if hasattr(floats.operation, key)
    ]
    return max((float(np.abs(was - now).max() / np.abs(now).min()) for was, now in pairs), default=0.0)


def _reads_input(graph: Graph, stream: Stream) -> bool:
    """Whether frames enter a stream, directly or through delays."""
    sources = {s for name in stream.synapses for s in graph.nodes[name].sources} | {s for s, _ in stream.direct}
    delays = {s for s in sources if isinstance(graph.nodes[s].operation, Delay)}
    behind = graph.before(delays, lambda node: isinstance(node.operation, Delay))
    return not (sources | behind).isdisjoint(graph.inputs)


def _noting_zero_frames(graph: Graph, frames: NDArray[np.float32]) -> Graph:
    """`graph`; with an assumption in its metadata where all calibration frames are zero."""
    if frames.any() or graph.metadata.preprocessing is not None:
        return graph
    note = "all calibration frames are zero: the input is taken for integers from -128 to 127, spikes among them"
    return graph.assuming(note)


def _reads_ahead(graph: Graph) -> bool:
    """Whether a node comes, in topological order, before one that it reads, as a `Delay` on a cycle does."""
    order = {name: i for i, name in enumerate(graph.nodes)}
    return any(order[source] > order[node.name] for node in graph.nodes.values() for source in node.sources)


def _before_delays(graph: Graph) -> frozenset[str]:
    """Nodes whose currents pass a `Delay`: a bias of theirs would begin some steps into an image; the chip's can't."""
    delays = (node.name for node in graph.nodes.values() if isinstance(node.operation, Delay))
    found = graph.before(delays, lambda node: not node.spiking)
    return frozenset(name for name in found if not graph.nodes[name].spiking)


def _undriven(graph: Graph, units: Units) -> frozenset[str]:
    """Nodes with synapses to neurons that filter currents and have no drive: a bias would need a neuron of its own."""
    found: set[str] = set()
    for stream in streams(graph):
        forms = {name: units.chip_form(name) for name in stream.populations}
        filters = any(form.filters_current for form in forms.values())
        if filters and not any(form.drive(units.biases[name]).any() for name, form in forms.items()):
            found.update(stream.synapses)
    return frozenset(found)
