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
    preset: Annotated[
        str | None, typer.Option(help="Sizes of the encoder: spike-driven-small unless --init has them.")
    ] = None,
    init: Annotated[
        str | None, typer.Option(help="Checkpoint to start from, by path or by the name of one that ships.")
    ] = None,
    quantized: Annotated[
        bool, typer.Option("--quantized", help="With --init: train for 8-bit weights, as Loihi 2 has them.")
    ] = False,
    test: Annotated[str | None, typer.Option(help="Images to measure accuracy on after each epoch.")] = None,
    schedule: Annotated[
        str | None,
        typer.Option(help="STEPSxEPOCHS,...: time steps and epochs in order; 1x20,4x10, or one epoch with --init."),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Images per step.")] = 128,
    learning_rate: Annotated[
        float | None, typer.Option(help="Peak of the cosine schedule; 2e-3, or 1e-4 with --init.")
    ] = None,
    ema: Annotated[float, typer.Option(help="Decay of the averaged weights; 0 to save the last ones.")] = 0.998,
    precision: Annotated[
        str, typer.Option(help="float32 or bf16; auto: bf16 where the device has it, not for 8 bits.")
    ] = "auto",
    seed: Annotated[int, typer.Option(help="Of initialisation, order and augmentation.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda; auto takes CUDA where it is.")] = "auto",
    limit: Annotated[int | None, typer.Option(help="Take the first N images only.")] = None,
) -> None:
    """Train a SpikeCLIP image encoder.

    A run that is cut off goes on when the same command is given again. One JSON line per epoch goes to
    `OUTPUT.log.jsonl`.

    Example: `spikeclip-train --preset spike-driven-tiny --data cifar10:DIR:train --test cifar10:DIR:test
    --labels embeddings.npz:cifar10 -o tiny.safetensors`

    Example: `spikeclip-train --quantized --init tiny.safetensors --data cifar10:DIR:train
    --labels embeddings.npz:cifar10 -o tiny-8bit.safetensors`
    """
    with refusals():
        from spikeclip.checkpoint import load
        from spikeclip.config import preset as find_preset
        from spikeclip.data import load_images
        from spikeclip.device import pick_device, pick_precision
        from spikeclip.errors import RefusedInput
        from spikeclip.fine_tuning import FineTuning
        from spikeclip.labels import load_labels
        from spikeclip.preprocess import Preprocessing
        from spikeclip.recipe import Recipe, parse_schedule
        from spikeclip.training import train as run

        if quantized and init is None:
            raise RefusedInput("--quantized trains a finished checkpoint further; expected one with --init")
        if init is not None and preset is not None:
            raise RefusedInput(f"--init {init} has its own sizes; expected no --preset")
        start = FineTuning(load(init), quantized) if init is not None else None
        config = start.checkpoint.config if start else find_preset(preset or "spike-driven-small")
        preprocessing = start.checkpoint.preprocessing if start else Preprocessing(config.image_size)
        chosen = pick_device(device)
        recipe = Recipe(
            schedule=parse_schedule(schedule or (f"{config.time_steps}x1" if start else "1x20,4x10")),
            batch_size=batch_size,
            learning_rate=(1e-4 if start else 2e-3) if learning_rate is None else learning_rate,
            ema=ema,
            precision=pick_precision("float32" if quantized and precision == "auto" else precision, chosen),
            seed=seed,
        )
        images = load_images(data, config.image_size, limit)
        held_out = load_images(test, config.image_size) if test else None
        label_set = load_labels(labels)
        with progress_bar("training") as advance:
            checkpoint = run(config, recipe, preprocessing, images, held_out, label_set, output, chosen, advance, start)
    measured = checkpoint.card["test"]
    results.print(f"{output}" + (f": accuracy {measured['accuracy']:.2%} on {test}" if measured else ""))


def main() -> None:
    """The entry point of the console script."""
    app()
