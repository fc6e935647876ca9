"""A user's module on the command line: converted by itself, or as the file that was exported from it says.

The console says that the user's Python is run.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from export.frontend.axes import Axes
from export.frontend.door import PreparedModule, to_nir
from export.frontend.inputs import Inputs
from export.frontend.loading import load_module
from neuromorphic.ir.graph import Graph
from neuromorphic.reading.build import from_nir
from neuromorphic.reading.frames import Frames
from neuromorphic.reading.provenance import Asked
from neuromorphic.reading.read import read_graph
from spikeclip.console import console
from spikeclip.errors import RefusedInput
from spikeclip.module_options import ModuleOptions
from spikeclip.published import IMAGE_SIZE, SUFFIXES, read_state
from spikeclip.spikformer import NAME, is_spikformer, load_spikformer

PUBLISHED_STEPS = 4
"""T of published networks, whose checkpoints don't say it."""

CHECKED_IMAGES = 4
"""Random inputs that a module is run on where no others are named."""


def opened(model: Path | None, options: ModuleOptions, meant: Asked) -> tuple[Graph, PreparedModule]:
    """A module and its graph: as it is in the file `model`, or without a file.

    Args:
        model: a file that was exported from the module; None for none.
        options: the module.
        meant: what the caller says of the file.

    Raises:
        RefusedInput: as `prepare_module` and `prepare_as_in` do.
    """
    if model is not None:
        graph = read_graph(model, asked=meant)
        return graph, prepare_as_in(options, graph)
    prepared = prepare_module(options)
    return from_nir(prepared.graph, options.spec), prepared


def random_inputs(prepared: PreparedModule, limit: int | None) -> Frames:
    """Random frames for a module, where the command names none; their `assumed` says so."""
    frames = prepared.inputs.random(limit or CHECKED_IMAGES, prepared.time_steps, seed=0)
    names = tuple(f"input {i}" for i in range(len(frames)))
    said = f"{len(frames)} random inputs: yours may have other rates, and other counts (--frames FILE.npy)"
    return Frames(frames, names, "the module", assumed=(said,))


def prepare_module(options: ModuleOptions) -> PreparedModule:
    """Run the user's Python, and convert the module that it makes; notes and assumptions go to standard error.

    Raises:
        RefusedInput: the shape of a frame or T isn't said; and as `load_module` and `to_nir` do.
    """
    if options.frame is None or options.time_steps is None:
        raise RefusedInput("--module needs --input C,H,W and -T STEPS: the shape of a frame, and time steps")
    return _said(_converted(options, _loaded(options), options.frame, options.time_steps))


def prepare_as_in(options: ModuleOptions, graph: Graph) -> PreparedModule:
    """The module as the file of `graph` has it: inputs, time steps and bounds are those that the file says.

    Raises:
        RefusedInput: the file is of no module, the options contradict it, or the module isn't the file's.
    """
    found, steps, frame = _stated_input(graph), graph.metadata.time_steps, graph.nodes[graph.input].shape
    if found is None or steps is None:
        raise RefusedInput(f"{graph.source}: doesn't say what its module reads; expected a file of --module")
    if options.frame is not None and (*options.frame, 1) == frame:  # `[C, N]` is a map of one column
        options = replace(options, frame=frame)
    stated = {"--input": frame, "-T": steps, "--axes": found.axes.names, "--input-kind": found.kind}
    said = (options.frame, options.time_steps, options.axes, options.kind)
    for (option, value), given in zip(stated.items(), said, strict=True):
        if given is not None and given != value:
            asked, says = (",".join(map(str, v)) if isinstance(v, tuple) else v for v in (given, value))
            raise RefusedInput(f"{graph.source}: {option} {asked} asked for; the file says {says}")
    whole = replace(options, axes=found.axes.names, kind=found.kind)
    prepared = _converted(whole, _loaded(whole), frame, steps, (found.low, found.high), found.bits)
    _check_same(prepared, graph, options.spec)
    return prepared


def _stated_input(graph: Graph) -> Inputs | None:
    """The input that a file states for its module; None if it states none, or none that can be understood."""
    stated = graph.metadata.document.get("input")
    try:
        return None if stated is None else Inputs.from_dict(stated, graph.nodes[graph.input].shape)
    except (KeyError, TypeError, ValueError, RefusedInput):
        return None


def prepare_published(
    path: Path, heads: int | None, image_size: int | None, time_steps: int | None
) -> PreparedModule | None:
    """The network of a published checkpoint whose tensors are those of Spikformer; None of any other file.

    Args:
        path: a PyTorch file.
        heads: of attention.
        image_size: height and width; 32 by default.
        time_steps: T; 4 by default.

    Raises:
        RefusedInput: the file is not readable, or its tensors don't fit.
    """
    if path.suffix not in SUFFIXES or not path.is_file():
        return None
    state, _ = read_state(path)
    if not is_spikformer(state):
        return None
    size, steps = image_size or IMAGE_SIZE, time_steps or PUBLISHED_STEPS
    net = load_spikformer(state, path, heads, steps)
    console.print(f"published checkpoint: {NAME}, {heads} heads, T = {steps}, {size}×{size} pixels", markup=False)
    options = ModuleOptions(NAME, None, None, None, None, None, 2)
    return _said(_converted(options, net, (net.channels, size, size), steps))


def _said(prepared: PreparedModule) -> PreparedModule:
    for note in prepared.notes:
        console.print(note, markup=False)
    console.print(f"assumed: {prepared.inputs.assumption}", markup=False)
    return prepared


def _loaded(options: ModuleOptions) -> nn.Module:
    console.print(f"running {options.spec}: your own Python", markup=False)
    return load_module(options.spec, options.weights)


def _converted(
    options: ModuleOptions,
    module: nn.Module,
    frame: tuple[int, ...],
    time_steps: int,
    bounds: tuple[float, float] | None = None,
    bits: int | None = None,
) -> PreparedModule:
    axes, kind = options.axes or ("BF", "BCN", "BCHW")[min(len(frame), 3) - 1], options.kind or "real"
    example = torch.zeros(Axes(axes).shape(frame, options.images, time_steps))
    with console.status("tracing, folding, snapping, certifying"):
        return to_nir(module, example, time_steps=time_steps, input_kind=kind, axes=axes, bounds=bounds, bits=bits)


def _check_same(prepared: PreparedModule, graph: Graph, spec: str) -> None:
    """Refuse a graph other than the module's own, by the first node that differs."""
    own = from_nir(prepared.graph, spec)
    odd = sorted(set(own.nodes) ^ set(graph.nodes))
    if odd:
        raise RefusedInput(f"{graph.source}: not exported from {spec}: only one has node {odd[0]!r}")
    for name, node in own.nodes.items():
        for key, value in vars(node.operation).items():
            if not np.array_equal(value, vars(graph.nodes[name].operation).get(key, ())):
                raise RefusedInput(f"{graph.source}: not exported from {spec}: node {name!r} has another {key}")
