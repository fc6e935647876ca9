"""`spikeclip-train-text`: a spiking text encoder that embeds as a CLIP's own does."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from neuromorphic.errors import meant
from neuromorphic.files import check_outputs
from spikeclip.console import command_line, examples, progress_bar, refusals, results
from spikeclip.errors import RefusedInput
from spikeclip.options import DeviceOption

app = command_line()


@app.command(
    epilog=examples(
        "spikeclip train-text --clip openai/clip-vit-base-patch16 --names-file words.txt "
        '--template "a photo of a {}." --template "{}" -o text.safetensors',
    )
)
def train_text(
    clip: Annotated[str, typer.Option(help="CLIP whose text features it learns: a folder, or a name on the hub.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The checkpoint to write (.safetensors).")],
    names: Annotated[list[str] | None, typer.Argument(help="Names to train on.")] = None,
    names_file: Annotated[Path | None, typer.Option(help="A text file of names, one per line, after those.")] = None,
    labels: Annotated[
        list[str] | None, typer.Option(help="Label set FILE.npz:KEY whose names to train on. May be repeated.")
    ] = None,
    templates: Annotated[
        list[str] | None,
        typer.Option("--template", "--templates", help="A sentence, {} for the name; CLIP's prompt. May be repeated."),
    ] = None,
    test_names: Annotated[
        Path | None, typer.Option(help="A text file of names to measure on, in the same templates.")
    ] = None,
    recipe: Annotated[str, typer.Option(help="short or published: the defaults.")] = "short",
    schedule: Annotated[
        str | None, typer.Option(help="STEPSxEPOCHS,...: time steps and epochs in order; 4x300 in short.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Sentences per step, of all processes together.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Start of the cosine schedule; 1e-2 in short.")] = None,
    final_learning_rate: Annotated[float | None, typer.Option(help="End of the cosine schedule; 5e-4.")] = None,
    save_every: Annotated[int, typer.Option(min=1, help="Epochs between checkpoints.")] = 10,
    seed: Annotated[int, typer.Option(help="Seed of initialisation and order.")] = 0,
    device: DeviceOption = "auto",
) -> None:
    """Train a SpikeCLIP text encoder.

    Each name makes a sentence with each template; training raises the cosine of its embedding with CLIP's. A run
    that is cut off goes on when the same command is given again. One JSON line per epoch goes to
    `OUTPUT.log.jsonl`. `spikeclip-labels --text-encoder` makes label sets with the result.

    Exit codes: 0 done, 2 the input was refused.
    """
    with refusals():
        from spikeclip.class_names import read_names
        from spikeclip.clip_text import ClipText
        from spikeclip.device import pick_device
        from spikeclip.distributed import rank, started_by_torchrun
        from spikeclip.label_sets import TEMPLATES, prompts
        from spikeclip.labels import load_labels
        from spikeclip.recipe import parse_schedule
        from spikeclip.text_training import TEXT_RECIPES, read_by
        from spikeclip.text_training import train_text as run

        read = (clip, names_file, test_names, *(labels or ()))
        check_outputs({"-o": output}, read, {"-o": (".safetensors",)}, kept=(Path(clip),))
        if recipe not in TEXT_RECIPES:
            raise RefusedInput(
                f"recipe {recipe!r} is unknown; expected one of {', '.join(TEXT_RECIPES)}{meant(recipe, TEXT_RECIPES)}"
            )
        found = TEXT_RECIPES[recipe].changed(
            schedule=parse_schedule(schedule) if schedule else None,
            batch_size=batch_size,
            learning_rate=learning_rate,
            final_learning_rate=final_learning_rate,
            seed=seed,
        )
        words = [*(names or ()), *(read_names(names_file) if names_file else ())]
        for spec in labels or ():
            words += load_labels(spec, first_of_repeated=True).names
        held_out = read_names(test_names) if test_names else None
        chosen = pick_device(device)

        def sentences(its: Sequence[str]) -> list[str]:
            return [text for of_one in prompts(its, templates or TEMPLATES) for text in of_one]

        taught = sentences(words)
        if not taught:
            raise RefusedInput("no names to train on; expected NAMES, --names-file or --labels")
        teacher = ClipText(clip)
        with progress_bar("CLIP's features") as advance:
            train_set = read_by(teacher, taught, advance)
            eval_set = None if held_out is None else read_by(teacher, sentences(held_out), advance)
        with started_by_torchrun(chosen) as own, progress_bar("training") as advance:
            told: Any = advance if rank() == 0 else lambda done, total, text: None
            card = run(teacher, found, train_set, eval_set, output, own, told, save_every).card
            first = rank() == 0
    if first:
        for kind in ("train", "test"):
            if card[kind] is not None:
                results.print(_summary(f"{output}: {kind}", card[kind]))


def _summary(what: str, measured: dict[str, Any]) -> str:
    return (
        f"{what}: {measured['sentences']} sentences, cosine {measured['cosine']:.4f} "
        f"({measured['constant']:.4f} for the best constant), {measured['nearest']:.2%} nearest to their own"
    )
