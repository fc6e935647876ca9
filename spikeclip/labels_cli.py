"""`spikeclip-labels`: label embeddings from names, by a CLIP or a spiking text encoder, or out of label sets."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuromorphic.files import check_outputs
from spikeclip.console import command_line, examples, refusals, results

if TYPE_CHECKING:
    from spikeclip.label_sets import TextEncoder
    from spikeclip.labels import LabelSet

app = command_line()


@app.command(
    epilog=examples(
        'spikeclip labels cat dog --clip openai/clip-vit-base-patch16 --template "a photo of a {}." -o pets.npz',
        "spikeclip labels tabby beagle --from embeddings.npz:imagenet -o unseen.npz",
        "spikeclip labels --from spike-driven-small --key cifar10 -o embeddings.npz",
    )
)
def labels(
    output: Annotated[Path, typer.Option("-o", "--output", help="The label set to write (.npz).")],
    names: Annotated[list[str] | None, typer.Argument(help="Names, in the order of the classes.")] = None,
    names_file: Annotated[Path | None, typer.Option(help="A text file of names, one per line, after those.")] = None,
    clip: Annotated[
        str | None, typer.Option(help="CLIP whose text encoder embeds the names: a folder, or a name on the hub.")
    ] = None,
    text_encoder: Annotated[
        Path | None,
        typer.Option(help="With --clip, of which only the tokenizer is read: a spiking text encoder in its place."),
    ] = None,
    templates: Annotated[
        list[str] | None,
        typer.Option("--template", "--templates", help="With --clip: a prompt, {} for the name. May be repeated."),
    ] = None,
    clip_name: Annotated[
        str | None, typer.Option(help="What to call that CLIP in the file; else what it calls itself.")
    ] = None,
    from_sets: Annotated[
        list[str] | None,
        typer.Option("--from", help="Take vectors from FILE.npz:KEY or a checkpoint. May be repeated."),
    ] = None,
    key: Annotated[str, typer.Option(help="Key of the label set in the file.")] = "labels",
) -> None:
    """Make a label set.

    With `--clip`, each name is embedded in every template, and the unit vectors are averaged; with `--text-encoder`,
    by a checkpoint of `spikeclip-train-text` or a published `.pth`. With `--from`, vectors are taken as they are
    there; without names, all of them, the first set's where two have the same name.

    Exit codes: 0 done, 2 the input was refused.
    """
    with refusals():
        from dataclasses import replace

        from spikeclip.class_names import read_names
        from spikeclip.errors import RefusedInput
        from spikeclip.label_sets import TEMPLATES, prompt_ensemble, union
        from spikeclip.labels import save_labels

        read = (names_file, clip, text_encoder, *(from_sets or ()))
        check_outputs({"-o": output}, read, {"-o": (".npz",)}, kept=(None if clip is None else Path(clip),))
        if (clip is None) == (not from_sets):
            raise RefusedInput("vectors come from a CLIP or from label sets; expected either --clip or --from")
        if clip is None and (templates or clip_name or text_encoder):
            raise RefusedInput(
                "--template, --clip-name and --text-encoder are about embedding names; expected them with --clip only"
            )
        wanted = (*(names or ()), *(read_names(names_file) if names_file else ()))
        if clip is not None:
            made = prompt_ensemble(_encoder(clip, text_encoder), wanted, templates or TEMPLATES)
            made = replace(made, clip=clip_name or made.clip)
        else:
            made = union([_taken(spec) for spec in from_sets or ()])
            if wanted:
                made = made.ordered(wanted)
        save_labels(made, output, key)
    results.print(
        f"{output}:{key}: {len(made.names)} names, vectors of {made.vectors.shape[1]}"
        + (f", CLIP {made.clip}" if made.clip else ""),
        markup=False,
    )


def _taken(spec: str) -> "LabelSet":
    """The label set of a file, or of a checkpoint."""
    from spikeclip.labels import load_labels

    if ".npz" in spec:
        return load_labels(spec, first_of_repeated=True)
    from spikeclip.checkpoint import label_set

    return label_set(spec)


def _encoder(clip: str, text_encoder: Path | None) -> "TextEncoder":
    from spikeclip.clip_text import ClipText, ClipTokenizer

    if text_encoder is None:
        return ClipText(clip)
    from spikeclip.spiking_text import SpikingText
    from spikeclip.text_checkpoint import load_text

    return SpikingText(load_text(text_encoder), ClipTokenizer(clip))
