"""`spikeclip-train`: a checkpoint from images and label embeddings."""

from pathlib import Path
from typing import Annotated

import typer

from spikeclip.console import progress_bar, refusals, results

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
def train(
    data: Annotated[
        str, typer.Option(help="Images to train on: cifar10:DIR:train, FILE.npz or a folder of class folders.")
    ],
    labels: Annotated[str, typer.Option(help="Label embeddings: FILE.npz or FILE.npz:KEY.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The checkpoint to write (.safetensors).")],
    preset: Annotated[str, typer.Option(help="Sizes of the encoder, as in spike-driven-small.")] = "spike-driven-small",
    test: Annotated[str | None, typer.Option(help="Images to measure accuracy on after each epoch.")] = None,
    schedule: Annotated[str, typer.Option(help="STEPSxEPOCHS,...: time steps and epochs in order.")] = "1x20,4x10",
    batch_size: Annotated[int, typer.Option(help="Images per step.")] = 128,
    learning_rate: Annotated[float, typer.Option(help="Peak of the cosine schedule.")] = 2e-3,
    ema: Annotated[float, typer.Option(help="Decay of the averaged weights; 0 to save the last ones.")] = 0.998,
    precision: Annotated[str, typer.Option(help="float32 or bf16; auto takes bf16 where the device has it.")] = "auto",
    seed: Annotated[int, typer.Option(help="Of initialisation, order and augmentation.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda; auto takes CUDA where it is.")] = "auto",
    limit: Annotated[int | None, typer.Option(help="Take the first N images only.")] = None,
) -> None:
    """Train a SpikeCLIP image encoder.

    A run that is cut off goes on when the same command is given again. One JSON line per epoch goes to
    `OUTPUT.log.jsonl`.

    Example: `spikeclip-train --preset spike-driven-tiny --data cifar10:DIR:train --test cifar10:DIR:test
    --labels embeddings.npz:cifar10 -o tiny.safetensors`
    """
    with refusals():
        from spikeclip.config import preset as find_preset
        from spikeclip.data import load_images
        from spikeclip.device import pick_device, pick_precision
        from spikeclip.labels import load_labels
        from spikeclip.preprocess import Preprocessing
        from spikeclip.recipe import Recipe, parse_schedule
        from spikeclip.training import train as run

        config = find_preset(preset)
        chosen = pick_device(device)
        recipe = Recipe(
            schedule=parse_schedule(schedule),
            batch_size=batch_size,
            learning_rate=learning_rate,
            ema=ema,
            precision=pick_precision(precision, chosen),
            seed=seed,
        )
        images = load_images(data, config.image_size, limit)
        held_out = load_images(test, config.image_size) if test else None
        label_set = load_labels(labels)
        with progress_bar("training") as advance:
            checkpoint = run(
                config, recipe, Preprocessing(config.image_size), images, held_out, label_set, output, chosen, advance
            )
    measured = checkpoint.card["test"]
    results.print(f"{output}" + (f": accuracy {measured['accuracy']:.2%} on {test}" if measured else ""))


def main() -> None:
    """The entry point of the console script."""
    app()
