"""`spikeclip-export`: a NIR graph or an ONNX model of a network, with the proof that its spikes are the same."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from neuromorphic.files import check_outputs, write_json
from spikeclip import options
from spikeclip.console import command_line, console, examples, progress_bar, refusals, results
from spikeclip.errors import RefusedInput
from spikeclip.module_options import ModuleOptions

if TYPE_CHECKING:
    from export.frontend.door import PreparedModule
    from neuromorphic.cluster.sharded import Sharing
    from spikeclip.checkpoint import Checkpoint
    from spikeclip.data import ImageSet
    from spikeclip.labels import LabelSet

app = command_line()


Format = Literal["nir", "onnx"]
Outputs = Literal["scores", "spikes"]


@app.command(
    epilog=examples(
        "spikeclip export spike-driven-small -o model.nir --test cifar10:DIR:test --json export.json",
        "spikeclip export --module mynet.py:make --weights best.pth --input 3,32,32 -T 4 -o net.nir",
        "spikeclip export model_best.pth.tar --heads 8 --labels embeddings.npz:cifar10 -o model.nir",
        "spikeclip export spike-driven-small --format onnx --outputs spikes -o model.onnx",
        "spikeclip export twin-small --labels embeddings.npz:cifar10 --format onnx -o twin.onnx",
    )
)
def export(
    checkpoint: Annotated[
        str | None, typer.Argument(help="Path, name of one that ships, or a published .pth or .pth.tar.")
    ] = None,
    *,
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write: .nir or .onnx.")],
    kind: Annotated[
        Format | None, typer.Option("--format", help="What to write; else what the file's name ends in, or nir.")
    ] = None,
    outputs: Annotated[
        Outputs | None,
        typer.Option(help="What an ONNX model returns: scores, or the spikes of every population besides."),
    ] = None,
    heads: options.HeadsOption = None,
    image_size: Annotated[
        int | None, typer.Option(min=1, help="Pixels of a published checkpoint's images; else 32.")
    ] = None,
    labels: options.LabelsOption = None,
    standard_nodes: Annotated[
        bool, typer.Option("--standard-nodes", help="Self-attention as neurons of standard NIR: exact, and large.")
    ] = False,
    max_neurons: Annotated[
        int | None,
        typer.Option(
            min=1, help="Limit on the neurons that --standard-nodes may take; else 1,048,576, a Loihi 2 chip's."
        ),
    ] = None,
    test: Annotated[str | None, typer.Option(help="Labelled images to measure the change of accuracy on.")] = None,
    limit: options.LimitOption = None,
    module: options.ModuleOption = None,
    weights: options.WeightsOption = None,
    frame: options.FrameOption = None,
    time_steps: options.TimeStepsOption = None,
    axes: options.AxesOption = None,
    input_kind: options.InputKindOption = None,
    batch: options.BatchOption = None,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Whether its every spike is compared with the graph's.")
    ] = True,
    json_path: options.JsonOption = None,
    cluster: options.ClusterOption = None,
    resume: options.ResumeOption = None,
) -> None:
    """Export a spiking network as a NIR graph, or an encoder as an ONNX model.

    With `--module` any network of SpikingJelly's, snnTorch's or Norse's neurons: this runs your own Python, to trace it
    and to compare every spike (docs/frontend.md).

    A spike-driven encoder takes standard nodes of NIR only. The published one takes two extension nodes more, which
    readers have to know; `--standard-nodes` spells one of them, self-attention, out in neurons. A published checkpoint
    takes `--heads`; without `--labels` the output is the embedding.

    Batch normalisation is folded, weights are snapped to dyadic grids on which float32 never rounds, and a
    certificate says of which nodes that is proven.

    An ONNX model reads images (uint8, `[N, H, W, 3]`), has the time steps unrolled, and consists of standard operators
    whatever the encoder. The ANN twin of an encoder, trained by `spikeclip-train --twin`, is exported in the same way:
    docs/onnx.md.

    Exit codes: 0 done, 1 a spike of the module differs from the graph's, 2 the input was refused.
    """
    with refusals():
        from export.standard_nodes import CHIP_NEURONS
        from export.summary import table
        from neuromorphic.cluster.sharded import Sharing
        from spikeclip.checkpoint import load
        from spikeclip.data import load_images
        from spikeclip.labels import load_labels
        from spikeclip.twin_checkpoint import is_twin

        sharing = Sharing.of(cluster, resume)
        if sharing is not None and test is None:
            raise RefusedInput("--cluster and --resume share out the images of --test; expected --test SPEC")
        own = ModuleOptions.of(module, weights, frame, time_steps, axes, input_kind, batch)
        read = () if own is None else own.files
        kind = kind or ("onnx" if output.suffix.lower() == ".onnx" else "nir")
        files, inputs = {"-o": output, "--json": json_path}, (checkpoint, labels, test, *read, cluster)
        check_outputs(files, inputs, {"-o": (f".{kind}", "")}, kept=(resume,))
        to_onnx = kind == "onnx"
        of_encoders = {
            "--standard-nodes": standard_nodes,
            "--max-neurons": max_neurons,
            "--outputs": outputs,
            "--heads": heads,
            "--image-size": image_size,
            "--test": test,
        }
        given = [option for option, value in of_encoders.items() if value is not None and value is not False]
        others = [option for option, value in {"--labels": labels, "--format onnx": to_onnx}.items() if value]
        ours = _own_module(checkpoint, own, heads, image_size, time_steps, [*given, *others])
        if ours is not None:
            document = _export_module(ours, output, check)
        elif checkpoint is None:
            raise RefusedInput("nothing to export; expected a checkpoint, or --module FILE.py:FACTORY")
        elif time_steps is not None or input_kind is not None:
            raise RefusedInput(f"{checkpoint}: says T and its input itself; expected -T and --input-kind with --module")
        else:
            if to_onnx:
                import_module("onnx")  # where it is missing, that is said before anything is computed
            label_set = None if labels is None else load_labels(labels)
            if is_twin(checkpoint):
                document = _export_twin(checkpoint, label_set, output, to_onnx, given)
            else:
                _check_options(given, to_onnx)
                loaded = load(checkpoint, heads=heads, image_size=image_size, labels=label_set)
                how = loaded.preprocessing
                images = None if test is None else load_images(test, how.image_size, limit, how.resize)
                neurons = max_neurons or CHIP_NEURONS
                document = _export_encoder(loaded, images, output, to_onnx, standard_nodes, neurons, outputs, sharing)
        if json_path is not None:
            write_json(json_path, document)
    results.print(table(document))
    if ours is None:
        for sentence in document.get("assumed", []):
            results.print(f"assumed: {sentence}", markup=False)
    elif document["parity"] is not None and not document["parity"]["exact"]:
        raise typer.Exit(1)


def _check_options(given: list[str], to_onnx: bool) -> None:
    """Refuse options of an encoder that make no sense in the format."""
    for option in ("--standard-nodes", "--max-neurons"):
        if to_onnx and option in given:
            raise RefusedInput(f"{option} is for readers of NIR; ONNX has matrix products: expected --format nir")
    if not to_onnx and "--outputs" in given:
        raise RefusedInput("--outputs is for --format onnx; every population of a .nir can be read out as it is")


def _own_module(
    checkpoint: str | None,
    own: ModuleOptions | None,
    heads: int | None,
    size: int | None,
    time_steps: int | None,
    given: list[str],
) -> "PreparedModule | None":
    """The user's module, or that of a published checkpoint of another network than SpikeCLIP's; None for neither.

    Raises:
        RefusedInput: `given` has an option that is of SpikeCLIP's encoders; and as `prepare_module` does.
    """
    from export.frontend.command import prepare_module, prepare_published

    if own is not None:
        if checkpoint is not None:
            raise RefusedInput(f"{checkpoint}: expected a checkpoint or --module, not both")
        if given:
            raise RefusedInput(f"{given[0]} is of SpikeCLIP's encoders; expected it without --module")
        return prepare_module(own)
    prepared = None if checkpoint is None else prepare_published(Path(checkpoint), heads, size, time_steps)
    others = [option for option in given if option not in ("--heads", "--image-size")]
    if prepared is not None and others:
        raise RefusedInput(f"{checkpoint}: {others[0]} is of SpikeCLIP's encoders; expected none with this network")
    return prepared


def _export_module(prepared: "PreparedModule", output: Path, check: bool) -> dict[str, Any]:
    from export.convert import write
    from export.frontend.command import CHECKED_IMAGES
    from export.frontend.margin import margins
    from export.frontend.parity import compare_module
    from export.summary import describe_module
    from neuromorphic.execution.reference import run_in_batches
    from neuromorphic.reading.build import from_nir

    report, run = None, {}
    if check:
        frames = prepared.inputs.random(CHECKED_IMAGES, prepared.time_steps, seed=0)
        with console.status(f"comparing every spike on {CHECKED_IMAGES} random inputs"):
            trace = run_in_batches(from_nir(prepared.graph, output), frames)
            report = compare_module(prepared, trace, prepared.record(frames))
            run = {} if prepared.certificate.exact else margins(prepared, frames)
    with console.status(f"writing {output}"):
        write(prepared.graph, output)
    return describe_module(prepared, output, report, run)


def _export_encoder(
    loaded: "Checkpoint",
    images: "ImageSet | None",
    output: Path,
    to_onnx: bool,
    standard_nodes: bool,
    max_neurons: int,
    outputs: Outputs | None,
    sharing: "Sharing | None",
) -> dict[str, Any]:
    """Convert, measure the accuracy on `images` where there are some, and write."""
    from export.accuracy import compare_accuracy, find_labels
    from export.convert import prepare, write
    from export.summary import describe

    if "published" in loaded.card:
        console.print(f"published checkpoint: {loaded.card['published']}", markup=False)
    found = None if images is None else find_labels(loaded, images)
    with console.status("folding, snapping, certifying"):
        prepared = prepare(loaded, standard_nodes, max_neurons)
    for attention in () if prepared.expansion is None else prepared.expansion.attention:
        console.print(
            f"{attention.name} in standard nodes: {attention.neurons:,} neurons, {attention.synapses:,} synapses, "
            f"{attention.nodes} nodes",
            markup=False,
        )
    change = None
    if images is not None and found is not None:
        with progress_bar("accuracy") as advance:
            change = compare_accuracy(prepared, images, found[0], progress=advance, sharing=sharing)
    model = None
    with console.status(f"writing {output}"):
        if to_onnx:
            from export.onnx.builder import write as write_onnx
            from export.onnx.model import build

            model = build(prepared, spikes=outputs == "spikes")
            write_onnx(model, output)
        else:
            write(prepared.graph, output)
    return {**describe(prepared, output, model, change), "assumed": [] if found is None else list(found[1])}


def _export_twin(
    twin_name: str, labels: "LabelSet | None", output: Path, to_onnx: bool, given: list[str]
) -> dict[str, Any]:
    from export.onnx.builder import write
    from export.onnx.twin import twin_to_onnx
    from export.summary import describe_twin
    from spikeclip.twin_checkpoint import load_twin

    if not to_onnx:
        raise RefusedInput(f"{twin_name}: an ANN twin has no spikes, and NIR no words for it; expected --format onnx")
    if given:
        raise RefusedInput(f"{twin_name}: is an ANN twin; expected {given[0]} with an encoder only")
    twin = load_twin(twin_name)
    model = twin_to_onnx(twin, labels)
    write(model, output)
    return describe_twin(twin, output, model)
