"""`spikeclip-labels`: label embeddings from names, by a CLIP or out of label sets that are there."""

from pathlib import Path
from typing import Annotated

import typer

from spikeclip.console import refusals, require_folders, results

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
def labels(
    output: Annotated[Path, typer.Option("-o", "--output", help="The label set to write (.npz).")],
    names: Annotated[list[str] | None, typer.Argument(help="Names, in the order of the classes.")] = None,
    names_file: Annotated[Path | None, typer.Option(help="A text file of names, one per line, after those.")] = None,
    clip: Annotated[
        str | None, typer.Option(help="CLIP whose text encoder embeds the names: a folder, or a name on the hub.")
    ] = None,
    templates: Annotated[
        list[str] | None,
        typer.Option("--template", "--templates", help="With --clip: a prompt, {} for the name. May be repeated."),
    ] = None,
    clip_name: Annotated[
        str | None, typer.Option(help="What to call that CLIP in the file; else what it calls itself.")
    ] = None,
    from_sets: Annotated[
        list[str] | None, typer.Option("--from", help="Label set FILE.npz:KEY to take vectors from. May be repeated.")
    ] = None,
    key: Annotated[str, typer.Option(help="Key of the label set in the file.")] = "labels",
) -> None:
    """Make a label set.

    With `--clip`, each name is embedded in every template, and the unit vectors are averaged. With `--from`, vectors
    are taken as they are there; without names, all of them, the first set's where two have the same name.

    Exit codes: 0 done, 2 the input was refused.

    Examples: `spikeclip-labels cat dog --clip openai/clip-vit-base-patch16 --template "a photo of a {}." -o pets.npz`,
    `spikeclip-labels tabby beagle --from embeddings.npz:imagenet -o unseen.npz`
    """
    with refusals():
        from dataclasses import replace

        from spikeclip.errors import RefusedInput
        from spikeclip.label_sets import TEMPLATES, prompt_ensemble, union
        from spikeclip.labels import load_labels, save_labels

        require_folders(output)
        if output.suffix != ".npz":
            raise RefusedInput(f"{output}: expected a name that ends in .npz")
        if (clip is None) == (not from_sets):
            raise RefusedInput("vectors come from a CLIP or from label sets; expected either --clip or --from")
        if clip is None and (templates or clip_name):
            raise RefusedInput("--template and --clip-name are about embedding names; expected them with --clip only")
        wanted = (*(names or ()), *(_lines(names_file) if names_file else ()))
        if clip is not None:
            from spikeclip.clip_text import ClipText

            made = prompt_ensemble(ClipText(clip), wanted, templates or TEMPLATES)
            made = replace(made, clip=clip_name or made.clip)
        else:
            made = union([load_labels(spec, first_of_repeated=True) for spec in from_sets or ()])
            if wanted:
                made = made.ordered(wanted)
        save_labels(made, output, key)
    results.print(
        f"{output}:{key}: {len(made.names)} names, vectors of {made.vectors.shape[1]}"
        + (f", CLIP {made.clip}" if made.clip else ""),
        markup=False,
    )


def _lines(path: Path) -> list[str]:
    from spikeclip.errors import RefusedInput

    try:
        return [line.strip() for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise RefusedInput(f"{path}: not a readable text file ({error})") from error


def main() -> None:
    """The entry point of the console script."""
    app()
