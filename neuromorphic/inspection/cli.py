"""`spikeclip-inspect`: what is in a `.nir` file, in words, as JSON and as a picture."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuromorphic.files import all_written, check_outputs, write_json, write_text
from spikeclip import options
from spikeclip.console import command_line, console, examples, refusals, results, written

if TYPE_CHECKING:  # --help loads nothing that a graph takes
    import numpy as np
    from numpy.typing import NDArray

    from neuromorphic.inspection.report import Inspection, NodeReport, Proof
    from neuromorphic.ir.graph import Graph
    from neuromorphic.ir.metadata import Readout
    from neuromorphic.targets.verdicts import Verdict

app = command_line()

MEASURED = 8
"""Images on which the targets are measured."""

NAMES = 6
"""Names in a list, before the rest is only counted."""


@app.command(
    epilog=examples(
        "spikeclip inspect model.nir --svg model.svg --json model.json",
        "spikeclip inspect theirs.nir --dt 1e-3",
        "spikeclip inspect theirs.nir --frames spikes.npy --dt 1e-3",
    )
)
def inspect_file(
    model: options.ModelArgument,
    json_path: options.JsonOption = None,
    svg: Annotated[Path | None, typer.Option(help="Draw the graph (.svg).")] = None,
    dt: options.DtOption = None,
    reset: options.ResetOption = None,
    integrators: options.IntegratorsOption = None,
    written_by: options.WrittenByOption = None,
    images: options.ImagesOption = None,
    frames: options.FramesOption = None,
    time_steps: options.TimeStepsOption = None,
    limit: Annotated[int, typer.Option(min=1, help="Take the first N of them.")] = MEASURED,
    prove: Annotated[
        bool, typer.Option(help="Prove the file's certificate again from its weights; else it is only quoted.")
    ] = True,
) -> None:
    """Show what is in a `.nir` file: nodes, shapes, parameters, latencies, extensions, precision, certificate.

    Nothing of the file is believed that its weights can prove: `certificate` says which it is. `targets` says of
    everything that could run it whether it computes every spike (faithful), others (approximate), or refuses, and why.
    Nothing is run unless `--images` or `--frames` ask how many spikes differ.

    Exit codes: 0 done, 1 the file claims to be exact where its weights are not, 2 the input was refused.
    """
    with refusals():
        from neuromorphic.execution.frames import timed
        from neuromorphic.inspection.drawing import draw
        from neuromorphic.inspection.proof import find_proof
        from neuromorphic.inspection.report import inspect, synapses
        from neuromorphic.reading.frames import named_files
        from neuromorphic.reading.provenance import Asked
        from neuromorphic.reading.read import read_graph
        from neuromorphic.runs.cli_inputs import Selection, frames_of

        chosen = Selection(images, named_files(frames or ()), limit=limit)
        check_outputs({"--json": json_path, "--svg": svg}, (model, *chosen.read))
        graph = read_graph(model, asked=Asked(dt, reset, integrators, written_by))
        shown = frames_of(graph, chosen.find(graph)) if images is not None or frames else None
        with console.status("proving"):
            proof = find_proof(graph, prove=prove)
        with console.status("judging targets"):
            judged = _verdicts(graph if shown is None else timed(graph, shown, time_steps), proof, shown)
        found = inspect(graph, synapses(graph), proof)
        for line in _lines(found):
            results.print(line, markup=False)
        results.print()
        for title, said in _summary(found):
            results.print(f"{title:<12} {said}", markup=False)
        for title, verdict in zip(("targets", *[""] * len(judged)), judged, strict=False):
            results.print(f"{title:<12} {verdict.target}: {verdict}", markup=False)
        for sentence in graph.metadata.assumed:
            results.print(f"{'assumed':<12} {sentence}", markup=False)
        targets = [asdict(verdict) for verdict in judged]
        with all_written(written) as write:
            write(json_path, lambda path: write_json(path, {**found.to_dict(), "targets": targets}))
            write(svg, lambda path: write_text(path, draw(found)))
        if proof.contradicted:
            raise typer.Exit(1)


def _verdicts(graph: "Graph", proof: "Proof", frames: "NDArray[np.float32] | None") -> "tuple[Verdict, ...]":
    from export.onnx.integers.supported import refusals as no_onnx
    from neuromorphic.targets.verdicts import verdicts

    exact = (
        proof.proven is not None and "nodes" in proof.proven and all(n["exact"] for n in proof.proven["nodes"].values())
    )
    return verdicts(graph, exact, frames, {"onnx integers": no_onnx})


def _lines(found: "Inspection") -> Iterator[str]:
    """Two lines per node: name, type, shape and latency; and below settings, sizes and sources."""
    from neuromorphic.inspection.describe import size

    heads = [("node", "type", "shape", "latency")]
    heads += [(n.name, n.type + " *" * n.extension, size(n.shape), str(n.latency)) for n in found.nodes]
    widths = [max(map(len, column)) for column in zip(*heads, strict=True)]
    for head, node in zip(heads, (None, *found.nodes), strict=True):
        yield "  ".join(word.ljust(width) for word, width in zip(head, widths, strict=True)).rstrip()
        if node is None:
            continue
        details = [node.words, *node.sizes]
        details += ["reads " + ", ".join(_source(found, s, node) for s in node.sources)] if node.sources else []
        if any(details):
            yield "    " + "; ".join(detail for detail in details if detail)


def _source(found: "Inspection", source: str, node: "NodeReport") -> str:
    if (source, node.name) in found.graph.recurrent:
        return f"{source} (a step late)"
    return f"{source} (waits {node.delays[source]})" if source in node.delays else source


def _summary(found: "Inspection") -> Iterator[tuple[str, str]]:
    graph, metadata = found.graph, found.graph.metadata
    totals = found.totals
    yield "graph", f"{graph.source}: {totals['nodes']} nodes, {totals['edges']} edges"
    yield "neurons", f"{totals['neurons']:,} in {found.populations}"
    yield "synapses", f"{totals['synapses']:,}; {totals['parameters']:,} parameters"
    steps = "the file doesn't say how many" if metadata.time_steps is None else str(metadata.time_steps)
    dt = f"{metadata.dt:g} s" + ("" if metadata.dt_stated else " (which the file doesn't say: --dt)")
    yield "time steps", f"{steps}, of {dt}; an image passes in {found.timing.depth} more"
    if graph.recurrent:
        edges = [f"{neuron} -> {reader}" for neuron, reader in sorted(graph.recurrent)]
        more = f" and {len(edges) - NAMES} more" if len(edges) > NAMES else ""
        yield "recurrent", f"{', '.join(edges[:NAMES])}{more}: one time step late"
    known = f"{', '.join(found.extensions)}: only readers that know these nodes (*) can run the file"
    yield "extensions", known if found.extensions else "none: standard NIR"
    yield "precision", _precision(found)
    if metadata.label_names:
        names, rest = metadata.label_names[:NAMES], len(metadata.label_names) - NAMES
        yield "labels", ", ".join(names) + (f" and {rest} more" if rest > 0 else "")
    yield "readout", _readout(metadata.readout)
    yield from _certificate(found.proof)


def _precision(found: "Inspection") -> str:
    scheme = found.to_dict()["scheme"]
    if scheme is None and found.precision == "loihi2":
        return "loihi2: the file holds the chip's integers"
    if scheme is None:
        bits = found.graph.metadata.input_bits
        return "float" + ("" if bits is None else f"; frames on multiples of 2^-{bits}")
    images = scheme.get("calibration", {}).get("images", "?")
    return f"loihi2: quantised per {scheme['granularity']} on {images} images, frames times {scheme['input_scale']:g}"


def _readout(readout: "Readout | None") -> str:
    if readout is None or len(set(readout.time_weights)) == 1 == round(float(readout.time_weights.sum()), 12):
        return "mean of the outputs over time" + (", plus a bias" if readout is not None and readout.bias.size else "")
    weights = ", ".join(f"{w:.4g}" for w in readout.time_weights)
    return f"outputs over time, weighted by {weights}" + (", plus a bias" if readout.bias.size else "")


def _certificate(proof: "Proof") -> list[tuple[str, str]]:
    if proof.proven is None:
        if proof.claimed is None:
            return [("certificate", "none: the file says nothing of rounding")]
        claims = "exact" if proof.claimed.get("exact") else "not exact"
        return [("certificate", f"{claims}, by the file's own claim; not proven again: {proof.reason}")]
    if "populations" in proof.proven:
        open_ones = [n for n, p in proof.proven["populations"].items() if p["wrapping"] or p["saturating"]]
        all_of = (
            f"{len(proof.proven['populations']) - len(open_ones)} of {len(proof.proven['populations'])} populations"
        )
        text = f"integers of the chip: u and v stay within 24 bits in {all_of}, proven from the weights"
        return [("certificate", text), *(("", f"{name}: can leave them in the worst case") for name in open_ones)]
    nodes = proof.proven["nodes"]
    unproven = {name: node["reason"] for name, node in nodes.items() if not node["exact"]}
    lines = [("certificate", f"exact in {len(nodes) - len(unproven)} of {len(nodes)} nodes, proven from the weights")]
    lines += [("", f"{name}: {reason}") for name, reason in unproven.items()]
    lines += [("", f"{name}: the file claims the opposite") for name in proof.contradicted]
    return lines
