"""`spikeclip-export`: a NIR graph from a checkpoint, with the proof that it computes the same spikes."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from spikeclip.console import console, progress_bar, refusals, require_folders, results

if TYPE_CHECKING:
    from export.accuracy import AccuracyChange
    from export.convert import Prepared

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
def export(
    checkpoint: Annotated[str, typer.Argument(help="Path, name of one that ships, or a published .pth or .pth.tar.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The graph to write (.nir).")],
    heads: Annotated[
        int | None, typer.Option(help="Attention heads of a published checkpoint, whose file doesn't hold them.")
    ] = None,
    image_size: Annotated[int | None, typer.Option(help="Pixels of a published checkpoint's images; else 32.")] = None,
    labels: Annotated[
        str | None, typer.Option(help="Label embeddings to read out, not a checkpoint's own: FILE.npz or FILE.npz:KEY.")
    ] = None,
    standard_nodes: Annotated[
        bool, typer.Option("--standard-nodes", help="Self-attention as neurons of standard NIR: exact, and large.")
    ] = False,
    max_neurons: Annotated[
        int | None,
        typer.Option(min=1, help="Most neurons that --standard-nodes may take; else 1,048,576, a Loihi 2 chip's."),
    ] = None,
    test: Annotated[str | None, typer.Option(help="Labelled images to measure the change of accuracy on.")] = None,
    limit: Annotated[int | None, typer.Option(help="Take the first N of them only.")] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write what was done as JSON.")] = None,
) -> None:
    """Export an encoder as a NIR graph.

    A spike-driven encoder takes standard nodes only. The published one takes two extension nodes more, which readers
    have to know; `--standard-nodes` spells one of them, self-attention, out in neurons. A published checkpoint takes
    `--heads`; without `--labels` the graph's output is the embedding.

    Batch normalisation is folded, weights are snapped to dyadic grids on which float32 never rounds, and a
    certificate says of which nodes that is proven.

    Exit codes: 0 done, 2 the input was refused.

    Examples: `spikeclip-export spike-driven-small -o model.nir --test cifar10:DIR:test --json export.json`,
    `spikeclip-export model_best.pth.tar --heads 8 --labels embeddings.npz:cifar10 -o model.nir`
    """
    with refusals():
        from export.accuracy import compare_accuracy
        from export.convert import prepare, write
        from export.standard_nodes import CHIP_NEURONS
        from spikeclip.checkpoint import load
        from spikeclip.data import load_images
        from spikeclip.labels import load_labels

        require_folders(output, json_path)
        label_set = None if labels is None else load_labels(labels)
        loaded = load(checkpoint, heads=heads, image_size=image_size, labels=label_set)
        if "published" in loaded.card:
            console.print(f"published checkpoint: {loaded.card['published']}", markup=False)
        images = None if test is None else load_images(test, loaded.config.image_size, limit)
        with console.status("folding, snapping, certifying"):
            prepared = prepare(loaded, standard_nodes, max_neurons or CHIP_NEURONS)
        for attention in () if prepared.expansion is None else prepared.expansion.attention:
            console.print(
                f"{attention.name} in standard nodes: {attention.neurons:,} neurons, {attention.synapses:,} synapses, "
                f"{attention.nodes} nodes",
                markup=False,
            )
        change = None
        if images is not None:
            with progress_bar("accuracy") as advance:
                change = compare_accuracy(prepared, images, progress=advance)
        with console.status(f"writing {output}"):
            write(prepared.graph, output)
        document = _document(prepared, output, change)
        if json_path is not None:
            json_path.write_text(json.dumps(document, indent=2) + "\n")
    _print(document)


def _document(prepared: "Prepared", output: Path, change: "AccuracyChange | None") -> dict[str, Any]:
    import nir

    from export.metadata import extensions

    nodes = prepared.graph.nodes.values()
    layers = [node for node in nodes if isinstance(node, nir.Conv2d | nir.Affine)]
    return {
        "format_version": 1,
        "graph": str(output),
        "bytes": output.stat().st_size,
        "nodes": len(prepared.graph.nodes),
        "edges": len(prepared.graph.edges),
        "extensions": list(extensions(prepared.graph)),
        "standard_nodes": {
            a.name: {"neurons": a.neurons, "synapses": a.synapses, "nodes": a.nodes}
            for a in (() if prepared.expansion is None else prepared.expansion.attention)
        },
        "populations": len(prepared.populations),
        "neurons": sum(node.r.size for node in nodes if isinstance(node, nir.LIF)),
        "weights": sum(int((node.weight != 0).sum()) for node in layers),
        "time_steps": prepared.certificate.time_steps,
        "input_bits": prepared.input_bits,
        "grids": {name: asdict(grid) for name, grid in prepared.grids.items()},
        "certificate": prepared.certificate.to_dict(),
        "accuracy": None if change is None else {**asdict(change), "points": change.points},
    }


def _print(document: dict[str, Any]) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("graph", f"{document['graph']}, {document['bytes'] / 1e6:.1f} MB")
    table.add_row("nodes", f"{document['nodes']}, {document['edges']} edges")
    if document["extensions"]:
        known = f"{', '.join(document['extensions'])}: only readers that know these nodes can run the file"
        table.add_row("extensions", known)
    table.add_row("neurons", f"{document['neurons']:,} in {document['populations']} populations")
    table.add_row("weights", f"{document['weights']:,} not zero")
    table.add_row("time steps", str(document["time_steps"]))
    nodes: dict[str, dict[str, Any]] = document["certificate"]["nodes"]
    unproven = {name: node["reason"] for name, node in nodes.items() if not node["exact"]}
    proven = f"exact in all {len(nodes)} nodes; {_bits(nodes)}"
    table.add_row("certificate", proven if not unproven else f"not exact in {len(unproven)} of {len(nodes)} nodes")
    for name, reason in unproven.items():
        table.add_row("", f"{name}: {reason}")
    if (accuracy := document["accuracy"]) is not None:
        n = accuracy["images"]
        before, after = accuracy["original"] / n, accuracy["exported"] / n
        table.add_row(
            "accuracy", f"{before:.2%} before, {after:.2%} after ({accuracy['points']:+.2f} points), {n} images"
        )
    results.print(table)


def _bits(nodes: dict[str, dict[str, Any]]) -> str:
    """The most bits needed in float32, `"24 of 24 bits needed"`, and in float64 where a readout is computed in it."""
    limits = sorted({node["limit"] for node in nodes.values()})
    single, *double = (
        f"{max(node['bits_needed'] for node in nodes.values() if node['limit'] == limit)} of {limit}"
        for limit in limits
    )
    return f"{single} bits needed" + "".join(f", {bits} in the readout" for bits in double)


def main() -> None:
    """The entry point of the console script."""
    app()
