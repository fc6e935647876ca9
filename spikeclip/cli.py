"""`spikeclip-train`: a checkpoint from images and label embeddings."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from spikeclip.console import checkpoint_written, command_line, examples, progress_bar, refusals
from spikeclip.errors import RefusedInput
from spikeclip.options import DeviceOption, LimitOption
from spikeclip.recipe import Recipe, Stage, find_recipe, parse_schedule

if TYPE_CHECKING:
    from spikeclip.fine_tuning import FineTuning

app = command_line()


@app.command(
    epilog=examples(
        "spikeclip train --preset spike-driven-tiny --data cifar10:DIR:train --test cifar10:DIR:test "
        "--labels embeddings.npz:cifar10 -o tiny.safetensors",
        "spikeclip train --quantized --init tiny.safetensors --data cifar10:DIR:train "
        "--labels embeddings.npz:cifar10 -o tiny-8bit.safetensors",
        "spikeclip train --stage dual --teacher twin.safetensors --preset spike-driven-tiny "
        "--data cifar10:DIR:train --labels embeddings.npz:cifar10 -o dual.safetensors",
        "torchrun --nproc-per-node 2 --no-python spikeclip-train --preset spike-driven-small "
        "--data cifar10:DIR:train --labels embeddings.npz:cifar10 -o small.safetensors",
    )
)
def train(
    data: Annotated[
        str, typer.Option(help="Images to train on: cifar10:DIR:train, FILE.npz or a folder of class folders.")
    ],
    labels: Annotated[str, typer.Option(help="Label embeddings: FILE.npz or FILE.npz:KEY.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The checkpoint to write (.safetensors).")],
    preset: Annotated[
        str | None, typer.Option(help="Sizes of the encoder: those of --init, else spike-driven-small.")
    ] = None,
    time_steps: Annotated[
        int | None, typer.Option(min=1, help="Time steps of the encoder, where not those of --preset or --init.")
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(help="Checkpoint to start from, a path or a shipped name; --preset may have a wider stem."),
    ] = None,
    quantized: Annotated[
        bool, typer.Option("--quantized", help="With --init: train for 8-bit weights, as Loihi 2 has them.")
    ] = False,
    twin: Annotated[bool, typer.Option("--twin", help="Train the ANN twin of the encoder, to be a teacher.")] = False,
    network: Annotated[
        Literal["twin", "resnet"],
        typer.Option(help="With --twin: the twin itself, or resnet, a ResNet-18, which knows more."),
    ] = "twin",
    stage: Annotated[
        Stage | None,
        typer.Option(help="What to learn: labels, a teacher's image features, or labels and its label logits."),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="short-classify, short-align, short-dual, published-align or published-dual: the defaults."),
    ] = None,
    cosine: Annotated[
        Literal["centred", "plain"] | None,
        typer.Option(
            help="With classify: label vectors less their mean, or as they are; centred, or as --init has it."
        ),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(help="With align and dual: a twin (a path or a shipped name), a CLIP folder or a hub name."),
    ] = None,
    teacher_cache: Annotated[
        Path | None,
        typer.Option(help="Keep the teacher's features of the images, not augmented, in this file (.npz)."),
    ] = None,
    kl_weight: Annotated[float | None, typer.Option(help="Weight of the divergence from the teacher's logits.")] = None,
    kl_temperature: Annotated[float | None, typer.Option(help="Temperature of that divergence.")] = None,
    spike_budget: Annotated[
        float | None, typer.Option(help="Spikes per synapse and image above which there is a penalty.")
    ] = None,
    spike_weight: Annotated[float | None, typer.Option(help="Weight of that penalty; 1 by default.")] = None,
    test: Annotated[str | None, typer.Option(help="Images to measure accuracy on with each checkpoint.")] = None,
    schedule: Annotated[
        str | None,
        typer.Option(help="STEPSxEPOCHS,...: time steps and epochs in order; 1x20,4x10, or one epoch with --init."),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per step, of all processes together.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Peak of the cosine schedule; 2e-3, or 1e-4 with --init.")
    ] = None,
    optimizer: Annotated[
        str | None, typer.Option(help="adamw, or muon for hidden layers (AdamW takes the rest).")
    ] = None,
    muon_learning_rate: Annotated[
        float | None, typer.Option(help="Peak of Muon's learning rate; 0.02 by default.")
    ] = None,
    flips: Annotated[
        str | None, typer.Option(help="random, or alternating: each image mirrored in every other epoch.")
    ] = None,
    cutout: Annotated[
        int | None, typer.Option(min=0, help="Side in pixels of a square that each image loses; 0 by default.")
    ] = None,
    ema: Annotated[float | None, typer.Option(help="Decay of the averaged weights; 0 to save the last ones.")] = None,
    save_every: Annotated[int, typer.Option(min=1, help="Epochs between checkpoints and measurements.")] = 1,
    precision: Annotated[
        str, typer.Option(help="float32 or bf16; auto: bf16 where the device has it, not for 8 bits.")
    ] = "auto",
    seed: Annotated[int, typer.Option(help="Seed of initialisation, order and augmentation.")] = 0,
    device: DeviceOption = "auto",
    limit: LimitOption = None,
) -> None:
    """Train a SpikeCLIP image encoder.

    A run that is cut off goes on when the same command is given again. One JSON line per epoch goes to
    `OUTPUT.log.jsonl`. `torchrun` starts several processes.

    Exit codes: 0 done, 2 the input was refused.
    """
    with refusals():
        from neuromorphic.files import check_outputs
        from spikeclip.checkpoint import load
        from spikeclip.config import preset as find_preset
        from spikeclip.data import load_images
        from spikeclip.device import pick_device, pick_precision
        from spikeclip.distributed import rank, started_by_torchrun
        from spikeclip.fine_tuning import FineTuning
        from spikeclip.labels import load_labels
        from spikeclip.preprocess import Preprocessing
        from spikeclip.teacher import load_teacher
        from spikeclip.training import train as run
        from spikeclip.twin_training import train_twin

        if quantized and init is None:
            raise RefusedInput("--quantized trains a finished checkpoint further; expected one with --init")
        if twin and (init is not None or teacher is not None or teacher_cache is not None):
            raise RefusedInput("--twin trains a teacher from random weights; expected no --init, no --teacher")
        if network != "twin" and not twin:
            raise RefusedInput(f"--network {network} is no encoder; expected it with --twin")
        outputs = {"-o": output, "--teacher-cache": teacher_cache}
        endings = {"-o": (".safetensors",), "--teacher-cache": (".npz",)}
        kept = (None if teacher is None else Path(teacher),)
        check_outputs(outputs, (data, labels, init, test, teacher), endings, kept=kept)
        start = FineTuning(load(init), quantized) if init is not None else None
        config = start.checkpoint.config if start and not preset else find_preset(preset or "spike-driven-small")
        config = replace(config, time_steps=time_steps or config.time_steps)
        preprocessing = start.checkpoint.preprocessing if start else Preprocessing(config.image_size)
        found = _default_recipe(stage, recipe, start, twin, config.time_steps)
        if cosine is not None and found.stage != "classify":
            raise RefusedInput(f"stage {found.stage} takes its teacher's label vectors; expected no --cosine {cosine}")
        chosen = pick_device(device)
        found = found.changed(
            schedule=parse_schedule(schedule) if schedule else None,
            batch_size=batch_size,
            learning_rate=learning_rate,
            optimizer=optimizer,
            muon_learning_rate=muon_learning_rate,
            flips=flips,
            cutout=cutout,
            centred=None if cosine is None else cosine == "centred",
            ema=ema,
            kl_weight=kl_weight,
            kl_temperature=kl_temperature,
            spike_budget=spike_budget,
            spike_weight=spike_weight,
            seed=seed,
            precision=pick_precision("float32" if quantized and precision == "auto" else precision, chosen),
        )
        images = load_images(data, config.image_size, limit, preprocessing.resize)
        held_out = load_images(test, config.image_size, None, preprocessing.resize) if test else None
        label_set = load_labels(labels)
        with started_by_torchrun(chosen) as own, progress_bar("training") as advance:
            common = (config, found, preprocessing, images, held_out, label_set, output, own)
            told: Any = advance if rank() == 0 else lambda done, total, text: None
            if twin:
                card = train_twin(*common, told, save_every, network).card
            else:
                model = load_teacher(teacher, own) if teacher else None
                card = run(*common, told, start, model, teacher_cache, save_every).card
            first = rank() == 0
    if first:
        checkpoint_written(output, card["test"], test)


def _default_recipe(
    stage: Stage | None, name: str | None, start: "FineTuning | None", twin: bool, time_steps: int
) -> Recipe:
    """The recipe of that name, or a short one of the stage: a checkpoint is trained to classify for one epoch more."""
    if name is not None:
        recipe = find_recipe(name)
        if stage is not None and stage != recipe.stage:
            raise RefusedInput(f"recipe {name} is of the stage {recipe.stage}; expected no --stage {stage}")
        return recipe
    recipe = find_recipe(f"short-{stage or 'classify'}")
    if twin:
        return replace(recipe, schedule=((1, 30),))
    if recipe.stage == "classify" and start is not None:
        from spikeclip.checkpoint import trained_cosine

        centred = trained_cosine(start.checkpoint.card) == "centred"
        return replace(recipe, schedule=((time_steps, 1),), learning_rate=1e-4, centred=centred)
    return recipe
