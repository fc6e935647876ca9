"""The front door: any spiking module of PyTorch to a NIR graph, and back into the module for parity."""

from dataclasses import dataclass
from math import prod

import nir
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.frontend.axes import Axes
from export.frontend.bare import bare
from export.frontend.computed_weights import with_fixed_weights
from export.frontend.context import Context
from export.frontend.grouping import groups_of
from export.frontend.inline import with_inline_neurons
from export.frontend.inputs import Inputs
from export.frontend.interpreter import interpret
from export.frontend.lowering import Lowering
from export.frontend.metadata import of
from export.frontend.neurons.equations import Neurons
from export.frontend.neurons.plain import with_plain_neurons
from export.frontend.neurons.recurrent import with_recurrent_neurons
from export.frontend.nodes import Population
from export.frontend.output import readout
from export.frontend.proof import prove
from export.frontend.recording import ModuleRecording, Place, record_module
from export.frontend.rewriting import rewritten
from export.frontend.traced_forward import run_as_traced
from export.frontend.tracing import trace
from export.frontend.writing_back import write_back
from export.populations import thresholds
from export.snap import Grid
from neuromorphic.analysis.rounding import Certificate
from neuromorphic.ir.metadata import InputKind, Readout
from spikeclip.errors import RefusedInput


@dataclass(frozen=True)
class PlacedNeurons:
    """Neurons of the module in the graph: their equation, the factor of their currents, and the name of their node."""

    neurons: Neurons
    factor: float
    node: str


@dataclass(frozen=True)
class PreparedModule:
    """A module, converted.

    Attributes:
        module: the user's own with the graph's folded and snapped numbers, in float64.
        graph: the NIR graph, with metadata.
        certificate: on which rung each node stands.
        grids: of every layer with weights.
        inputs: what the module reads.
        time_steps: T.
        readout: what the host does over time; None where the module returns every time step.
        places: per neuron of the module, where its spikes lie in the graph.
        neurons: per neuron of the module, its equation in the graph.
        notes: what was rewritten or assumed.
    """

    module: nn.Module
    graph: nir.NIRGraph
    certificate: Certificate
    grids: dict[str, Grid]
    inputs: Inputs
    time_steps: int
    readout: Readout | None
    places: dict[str, tuple[Place, ...]]
    neurons: dict[str, PlacedNeurons]
    notes: tuple[str, ...]

    @property
    def populations(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the populations whose every spike the module has too, by name."""
        covered: dict[str, set[int]] = {}
        for places in self.places.values():
            for place in places:
                covered.setdefault(place.node, set()).update(place.elements[place.elements >= 0].tolist())
        shapes = {name: thresholds(self.graph.nodes[name]).shape for name in covered}
        return {name: shape for name, shape in shapes.items() if len(covered[name]) == prod(shape)}

    def record(self, frames: NDArray[np.float32], batch: int = 16) -> ModuleRecording:
        """Run the module's own code on frames and keep all spikes.

        Args:
            frames: float32 `[N, *frame]`, of timed inputs `[N, T, *frame]`.
            batch: images per forward pass; it changes no result.
        """
        shapes = self.populations
        places = {key: tuple(p for p in found if p.node in shapes) for key, found in self.places.items()}
        places = {key: found for key, found in places.items() if found}
        images_first = self.readout is not None
        return record_module(self.module, places, shapes, self.inputs, self.time_steps, frames, images_first, batch)


def to_nir(
    module: nn.Module,
    example: Tensor,
    *,
    time_steps: int,
    input_kind: InputKind = "real",
    axes: str | None = None,
    bounds: tuple[float, float] | None = None,
    bits: int | None = None,
) -> PreparedModule:
    """The NIR graph of any spiking module, exact where its certificate says so; `module` stays as it is.

    Args:
        module: of SpikingJelly's, snnTorch's or Norse's neurons and of PyTorch's layers, in whatever layout.
        example: an input, of which the shape counts: two images or more, so that a module that mixes them is found.
        time_steps: T.
        input_kind: real, spikes or counts.
        axes: names of the example's axes, as BCHW for images that the module presents T times itself, TBCHW or BTCHW;
            by default by their number.
        bounds: least and greatest value of a frame.
        bits: frames are multiples of 2^-bits.

    Raises:
        RefusedInput: what the module does has no lowering, by module path and operator.
    """
    names = Axes(axes or default_axes(tuple(example.shape), time_steps))
    if len(names.names) != example.ndim:
        raise RefusedInput(f"axes {names.names} don't name those of an example of the shape {list(example.shape)}")
    inputs = Inputs.of(input_kind, names, names.frame(tuple(example.shape)), bounds, bits)
    own, notes = bare(module)
    own, rewrites = rewritten(own)
    notes = (*notes, *rewrites, *with_fixed_weights(own), *with_recurrent_neurons(own))
    notes = (*notes, *with_plain_neurons(own, torch.zeros(example.shape), time_steps))
    traced = trace(own, torch.zeros(example.shape))
    inline = with_inline_neurons(traced, time_steps)
    shown = inputs.tensor(inputs.random(names.images(tuple(example.shape)), time_steps, seed=0), torch.float64)
    notes = (*notes, *run_as_traced(own, shown, time_steps, traced, inline))
    context, result = interpret(traced, names, time_steps)
    proven = prove(context, result, inputs.sums)
    groups = groups_of(proven.lowering, own)
    own = own.double()
    write_back(own, proven.lowering, stepping=bool(inline))
    places = _places(context, proven.lowering)
    host = readout(result)
    graph = proven.graph
    graph.metadata = of(proven, inputs, host, (*notes, *context.notes), groups)
    return PreparedModule(
        own,
        graph,
        proven.certificate,
        proven.grids,
        inputs,
        time_steps,
        host,
        places,
        _neurons(proven.lowering),
        (*notes, *context.notes),
    )


def default_axes(shape: tuple[int, ...], time_steps: int) -> str:
    """The axes of an input by their number: images of maps or vectors; with one more, time first or second.

    Raises:
        RefusedInput: another number of axes.
    """
    match len(shape):
        case 2:
            return "BF"
        case 4:
            return "BCHW"
        case 3 | 5:
            rest = "CHW" if len(shape) == 5 else "F"
            return ("BT" if shape[1] == time_steps != shape[0] else "TB") + rest
        case _:
            raise RefusedInput(f"an example of the shape {list(shape)} needs its axes named, as BCHW or TBCHW")


def _places(context: Context, lowering: Lowering) -> dict[str, tuple[Place, ...]]:
    found: dict[str, tuple[Place, ...]] = {}
    for key, observed in context.observed.items():
        where = [(observed.node, observed.order), *observed.instead]
        places = tuple(
            Place(lowering.names[index], order.numpy(), observed.multi_step)
            for index, order in where
            if index in lowering.names
        )
        if places:
            found[key] = places
    return found


def _neurons(lowering: Lowering) -> dict[str, PlacedNeurons]:
    found = {}
    for index, name in lowering.names.items():
        operation = lowering.context.nodes[index].operation
        if isinstance(operation, Population):
            _, factor = lowering.units[name]
            found.update({key: PlacedNeurons(operation.neurons, factor, name) for key in operation.key})
    return found
