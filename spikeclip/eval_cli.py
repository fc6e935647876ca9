"""`spikeclip-eval`: accuracy among the classes' own names, among foreign ones, and under names never trained on."""

from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuromorphic.files import check_outputs, write_json
from spikeclip import options
from spikeclip.console import command_line, examples, progress_bar, refusals, results, written

if TYPE_CHECKING:
    from spikeclip.candidates import Candidates
    from spikeclip.confusion import Panel
    from spikeclip.evaluation import Row
    from spikeclip.labels import LabelSet

app = command_line()


class CosineOption(StrEnum):
    """The choices of `--cosine`, `labels.Cosine`: typer takes lists of no literals."""

    CENTRED = "centred"
    PLAIN = "plain"


@app.command(
    "eval",
    epilog=examples(
        "spikeclip eval spike-driven-small --images cifar10:DIR:test --labels embeddings.npz:cifar10 "
        "--extend embeddings.npz:imagenet --replace unseen.npz --confusion confusion.svg --json evaluation.json",
    ),
)
def evaluate(
    checkpoints: Annotated[list[str], typer.Argument(help="Paths, names of those that ship, or published .pth files.")],
    images: Annotated[str, typer.Option(help="Labelled images: cifar10:DIR:test, FILE.npz or a folder of folders.")],
    labels: Annotated[
        str | None, typer.Option(help="Label embeddings of the images' classes: FILE.npz:KEY; else the readout's own.")
    ] = None,
    extend: Annotated[
        list[str] | None, typer.Option(help="Foreign names that join the candidates: FILE.npz:KEY. May be repeated.")
    ] = None,
    replace: Annotated[
        str | None, typer.Option(help="Names instead of the classes', in their order: FILE.npz:KEY.")
    ] = None,
    cosine: Annotated[
        list[CosineOption] | None,
        typer.Option(help="Label vectors less their mean, or as they are. May be repeated; else as each was trained."),
    ] = None,
    twin: Annotated[
        str | None, typer.Option(help="ANN twin to evaluate beside them, by path or by the name of one that ships.")
    ] = None,
    teacher: Annotated[str | None, typer.Option(help="Teacher to evaluate beside them: CLIP or a twin.")] = None,
    heads: options.HeadsOption = None,
    skip_broken: options.SkipBrokenOption = False,
    limit: options.LimitOption = None,
    confusion: Annotated[Path | None, typer.Option(help="Draw confusion matrices: .png, .svg or .pdf.")] = None,
    json_path: options.JsonOption = None,
    device: options.DeviceOption = "auto",
    cluster: options.ClusterOption = None,
    resume: options.ResumeOption = None,
) -> None:
    """Evaluate encoders on labelled images.

    The *expanded* label set has names besides the classes' own (`--extend`); in the *unseen* one, each class goes by
    another name (`--replace`). What both mean, and the two cosines: docs/evaluation.md.

    Exit codes: 0 done, 2 the input was refused.
    """
    with refusals():
        from neuromorphic.cluster.sharded import Sharing
        from spikeclip.checkpoint import load
        from spikeclip.confusion import SUFFIXES as PICTURES
        from spikeclip.confusion import draw
        from spikeclip.data import load_images
        from spikeclip.device import pick_device
        from spikeclip.errors import RefusedInput
        from spikeclip.evaluation import class_names, evaluate_checkpoint, evaluate_encoder
        from spikeclip.label_sets import check_same_space, union
        from spikeclip.labels import load_labels
        from spikeclip.predictions import assumption
        from spikeclip.published import SUFFIXES

        read = (images, labels, *(extend or ()), replace, twin, teacher, *checkpoints, cluster)
        kept = (resume, None if teacher is None else Path(teacher))
        check_outputs({"--json": json_path, "--confusion": confusion}, read, {"--confusion": PICTURES}, kept=kept)
        if labels is None and (extend or twin or teacher or cosine):
            raise RefusedInput(
                "--extend, --twin, --teacher and --cosine need the vectors of the classes' own names, which no readout "
                "holds; expected --labels"
            )
        sharing = Sharing.of(cluster, resume)
        if sharing is not None and (twin or teacher or device == "cuda"):
            raise RefusedInput("--cluster and --resume are of checkpoints on CPUs; expected no twin, teacher or cuda")
        chosen = pick_device(device) if sharing is None else "cpu"
        label_set = load_labels(labels) if labels else None
        foreign = union([load_labels(spec, first_of_repeated=True) for spec in extend]) if extend else None
        replacement = load_labels(replace) if replace else None
        if label_set and replacement:
            check_same_space(label_set, replacement)
        loaded = {name: load(name, heads=heads if Path(name).suffix in SUFFIXES else None) for name in checkpoints}
        pictures = cache(lambda size, resize: load_images(images, size, limit, resize, skip_broken=skip_broken))
        first = loaded[checkpoints[0]].preprocessing
        shown = pictures(first.image_size, first.resize)
        classes = class_names(shown, label_set.names if label_set else loaded[checkpoints[0]].label_names)
        assumed = [] if shown.label_names else [assumption(shown, classes, "the encoder")]
        assumed += shown.left_out
        candidates = _candidates(classes, label_set, foreign, replacement)
        cosines = [each.value for each in cosine or []]
        rows: list[Row] = []
        for number, (name, checkpoint) in enumerate(loaded.items()):
            its = pictures(checkpoint.preprocessing.image_size, checkpoint.preprocessing.resize)
            shared = None if sharing is None else sharing.apart(str(number))
            with progress_bar(name) as advance:
                rows += evaluate_checkpoint(
                    name, checkpoint, its, classes, candidates, cosines, chosen, advance, shared
                )
        for kind, spec in (("twin", twin), ("teacher", teacher)):
            if spec is not None:
                from spikeclip.teacher import load_teacher

                encoder = load_teacher(spec, chosen)
                its = pictures(first.image_size, encoder.resize)
                with progress_bar(spec) as advance:
                    compared = cosines or [encoder.cosine]
                    rows += evaluate_encoder(spec, kind, encoder, its, classes, candidates, compared, advance)
        if confusion is not None:
            draw(_panels(rows), confusion)
        if json_path is not None:
            found = {"images": shown.to_dict(), "rows": [row.to_dict() for row in rows]}
            write_json(json_path, {"format_version": 1, "assumed": assumed, **found})
    _print(rows)
    for sentence in assumed:
        results.print(f"assumed: {sentence}", markup=False)
    written(confusion, json_path)


def _candidates(
    classes: tuple[str, ...], labels: "LabelSet | None", foreign: "LabelSet | None", replacement: "LabelSet | None"
) -> "list[Candidates]":
    """The classes' own names, the same among foreign ones, and others in their place: those that there are."""
    from spikeclip.candidates import expanded, own, unseen
    from spikeclip.label_sets import union

    found = []
    if labels:
        # A class that --labels lacks may be among the other candidates.
        labels = (union([labels, foreign]) if foreign else labels).ordered(classes)
        found = [own(labels), *([expanded(labels, foreign)] if foreign else [])]
    return [*found, *([unseen(classes, replacement)] if replacement else [])]


def _panels(rows: "list[Row]") -> "list[list[Panel]]":
    """A row of panels for each model."""
    from spikeclip.confusion import Panel

    panels: dict[str, list[Panel]] = {}
    for row in rows:
        title = f"{row.model}, {row.label_set}, {row.cosine}: {row.result.accuracy:.2%}"
        names = row.result.names[: len(row.result.classes)]
        panel = Panel(title, row.result.confusion, row.result.classes, names)
        panels.setdefault(f"{row.kind} {row.model}", []).append(panel)
    return list(panels.values())


def _print(rows: "list[Row]") -> None:
    from rich.table import Column, Table

    from neuromorphic.tables import uncut

    texts = (Column(name, overflow="fold") for name in ("model", "kind", "labels", "cosine"))
    numbers = (Column(name, justify="right") for name in ("names", "accuracy", "top 5", "foreign"))
    table = Table(*texts, *numbers, box=None, pad_edge=False)
    for row in rows:
        found = row.result
        foreign = len(found.names) - len(found.classes)
        table.add_row(
            Path(row.model).name,
            row.kind,
            row.label_set,
            row.cosine,
            str(len(found.names)),
            f"{found.accuracy:.2%}",
            "" if found.top5 is None else f"{found.top5:.2%}",
            f"{found.foreign / len(found.truth):.2%}" if foreign else "",
        )
    results.print(uncut(table))
