"""Quantised graphs in `.nir` files: floats that any reader understands, and the scheme that makes integers of them.

The file holds the numbers that the chip computes with, as floats, so a reader that knows nothing of the scheme runs
the quantised network; with the scheme, which is part of the metadata, the integers come back exactly.
"""

import json
from pathlib import Path

import nir
import numpy as np

from neuromorphic.errors import RefusedInput, shown
from neuromorphic.ir.graph import Graph, Node
from neuromorphic.ir.metadata import FORMAT_VERSION
from neuromorphic.ir.metadata import KEY as METADATA
from neuromorphic.loihi2.integers import integers
from neuromorphic.loihi2.scheme import KEY, Scheme
from neuromorphic.ops.operations import Affine, Conv1d, Conv2d, CubaLif, If, Lif, Scale, SumPool2d, Threshold
from neuromorphic.reading.read import read_nir


def integer_graph(graph: Graph) -> Graph | None:
    """The integers of a graph that was read from a quantised file; None where the file holds no scheme.

    Raises:
        RefusedInput: the scheme is not understood, or doesn't fit the graph.
    """
    document = graph.metadata.document.get(KEY)
    if document is None:
        return None
    scheme = Scheme.from_dict(document, graph.source)
    try:
        with np.errstate(divide="raise", over="raise", invalid="raise"):
            return integers(graph, scheme)
    except RefusedInput as error:  # which names the node only
        raise RefusedInput(f"{graph.source}: {error}") from error
    except (KeyError, ValueError, ArithmeticError) as error:  # a node without a unit, exponents of another number, ...
        raise RefusedInput(f"{graph.source}: metadata {KEY!r} doesn't fit the graph ({shown(error)})") from error


def write_quantised(model: Path, graph: Graph, scheme: Scheme, path: Path) -> None:
    """Write the file `model` again, to `path`, with the numbers of its quantised graph; whole or not at all.

    The exporter's certificate and grids are left out: they are of other weights.

    Args:
        model: the `.nir` file that was quantised, read by `read_graph` before.
        graph: what `quantise.calibrate` made of it, in floats.
        scheme: its scheme.
        path: of the new file.

    Raises:
        RefusedInput: `path` can't be written.
    """
    raw = read_nir(model)
    for node in graph.nodes.values():
        within, name = _found(raw, node.name)
        within.nodes[name] = _rewritten(within.nodes[name], node, graph.metadata.dt)
    written = {"format_version": FORMAT_VERSION, "dt": graph.metadata.dt, "time_steps": graph.metadata.time_steps}
    kept = {k: v for k, v in graph.metadata.document.items() if k not in ("certificate", "grids")}
    document = {**written, **kept}
    raw.metadata = {**raw.metadata, METADATA: json.dumps({**document, KEY: scheme.to_dict()}, allow_nan=False)}
    partial = path.with_name(path.name + ".partial")
    try:
        nir.write(partial, raw)
        partial.replace(path)
    except OSError as error:
        raise RefusedInput(f"{path}: can't be written ({error})") from error
    finally:
        partial.unlink(missing_ok=True)


def _rewritten(target: nir.NIRNode, node: Node, dt: float) -> nir.NIRNode:
    """The file's node with the numbers of the graph's; of a type that has room for them."""

    def full(values: np.ndarray) -> np.ndarray:
        return np.broadcast_to(values, node.shape).astype(np.float32)

    match node.operation:
        case Conv1d(weight=weight, bias=bias, groups=groups) | Conv2d(weight=weight, bias=bias, groups=groups):
            grouped = int(np.asarray(target.groups).item()) == groups
            target.weight, target.bias = weight if grouped else _block_diagonal(weight, groups), bias
        case Scale(scale=scale):
            target.scale = scale
        case Affine(weight=weight, bias=bias):
            return nir.Affine(weight, bias) if bias.any() or isinstance(target, nir.Affine) else nir.Linear(weight)
        case SumPool2d(divisor=1) if isinstance(target, nir.AvgPool2d):  # the weights before it divide
            return nir.SumPool2d(target.kernel_size, target.stride, target.padding)
        case If(threshold=threshold):
            target.v_threshold = full(threshold)
        case Lif(decay=decay, gain=gain, threshold=threshold, leak=leak):
            target.v_threshold, target.v_leak = full(threshold), full(leak)
            target.tau, target.r = full(np.float32(dt) / decay), full(gain)
        case CubaLif(decay=decay, synapse_decay=synapse, weight=weight, gain=gain, threshold=threshold, leak=leak):
            target.v_threshold, target.v_leak = full(threshold), full(leak)
            target.tau_mem, target.r = full(np.float32(dt) / decay), full(gain)
            target.tau_syn, target.w_in = full(np.float32(dt) / synapse), full(weight)
        case Threshold(threshold=threshold):
            target.threshold = full(threshold)
    return target


def _found(graph: nir.NIRGraph, name: str) -> tuple[nir.NIRGraph, str]:
    """The node that `nesting.flat` calls so: its subgraph, and its name there."""
    if name in graph.nodes:
        return graph, name
    (inner, rest), *_ = (
        (node, name.removeprefix(f"{outer}."))
        for outer, node in graph.nodes.items()
        if isinstance(node, nir.NIRGraph) and name.startswith(f"{outer}.")
    )
    return _found(inner, rest)


def _block_diagonal(weight: np.ndarray, groups: int) -> np.ndarray:
    """`[out, in / groups, ...]` to `[out, in, ...]`, zero where a group doesn't see a channel."""
    out, inner = weight.shape[:2]
    dense = np.zeros((out, inner * groups, *weight.shape[2:]), np.float32)
    for g in range(groups):
        rows = slice(g * out // groups, (g + 1) * out // groups)
        dense[rows, g * inner : (g + 1) * inner] = weight[rows]
    return dense
