"""Training: a stage of the recipe for an encoder, by surrogate gradients, to a checkpoint."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from spikeclip.batches import Batch
from spikeclip.calibration import calibrate
from spikeclip.card import measure, save_with_card
from spikeclip.checkpoint import Checkpoint, check_preprocessing, load
from spikeclip.config import SpikeClipConfig
from spikeclip.data import ImageSet
from spikeclip.encoder import Encoder, SpikeClip, fold_readout
from spikeclip.errors import RefusedInput
from spikeclip.fine_tuning import FineTuning
from spikeclip.fused_lif import fused_neurons
from spikeclip.labels import LabelSet
from spikeclip.objective import Objective, check_classes, find_objective, identify
from spikeclip.preprocess import Preprocessing
from spikeclip.quantized import freeze_statistics, round_weights, rounded_weights
from spikeclip.recipe import Recipe
from spikeclip.spike_budget import SpikeCount, counted, next_multiplier, penalty
from spikeclip.teacher import Teacher
from spikeclip.training_run import Progress, Run, carry_out, check_batches, check_output, embedded


def train(
    config: SpikeClipConfig,
    recipe: Recipe,
    preprocessing: Preprocessing,
    train_set: ImageSet,
    eval_set: ImageSet | None,
    labels: LabelSet,
    out: Path,
    device: str = "cpu",
    progress: Progress = lambda done, total, text: None,
    start: FineTuning | None = None,
    teacher: Teacher | None = None,
    cache: Path | None = None,
    save_every: int = 1,
) -> Checkpoint:
    """Train an encoder and write its checkpoint to `out`; a run that was cut off goes on where its last epoch ended.

    Beside `out` stand `out.log.jsonl`, one JSON line per epoch, the card (`.json`), and during the run `out.resume`.
    On the CPU, the same seed and number of threads give the same weights, whether or not the run was interrupted.
    Under `torchrun` every process calls this (`distributed.started_by_torchrun`); the first one measures and writes.

    Args:
        config: the encoder's sizes.
        recipe: the run's settings.
        preprocessing: becomes part of the checkpoint.
        train_set: images, with labels unless the stage is `align`.
        eval_set: images with labels to measure the accuracy on, with every checkpoint of the encoder's own T; None
            to measure none.
        labels: names and vectors; reordered to the training set's label names where it has some.
        out: path of the checkpoint.
        device: `cpu`, `cuda`, ...
        progress: told of every step.
        start: what to start from; None for random weights.
        teacher: of the stages `align` and `dual`.
        cache: file that keeps the teacher's features of the images as they are, which then stand for those of their
            augmented versions; None to ask the teacher at every step.
        save_every: epochs between two checkpoints, and between the states that a run goes on from.

    Returns:
        The checkpoint that was written.

    Raises:
        RefusedInput: the sets have no labels or other ones, sizes don't fit, `out` can't be written or is there
            already, `out.resume` is of another run, the checkpoint to start from has another preprocessing
            or sizes that don't fit, weights would be rounded twice, the stage has no teacher or needs none, `cache` is
            of another one, batches have no equal shares for all processes, or the loss is no longer finite.
    """
    check_output(out)
    if recipe.schedule[-1][0] != config.time_steps:
        raise RefusedInput(
            f"the schedule ends at T = {recipe.schedule[-1][0]}; expected the encoder's {config.time_steps}"
        )
    objective = find_objective(recipe, train_set, labels, config.embedding_width, device, teacher, cache)
    if eval_set is not None:
        check_classes(eval_set, objective.labels)
    check_batches(train_set, recipe)
    check_preprocessing("the run", config, preprocessing)
    if start is not None:
        start.check(config, preprocessing, recipe)

    torch.manual_seed(recipe.seed)
    encoder = Encoder(config) if start is None else start.encoder(config)
    quantized = start is not None and start.quantized
    run = Run(encoder, recipe, device, _embed_rounded if quantized else embedded)
    about = {"config": config.to_dict(), "recipe": recipe.to_dict(), "preprocessing": preprocessing.to_dict()}
    identity = {**about, **identify(objective, train_set)}
    if start is not None:
        identity["start"] = start.to_dict()

    def train_epoch() -> dict[str, Any]:
        run.model.train()
        if quantized:
            freeze_statistics(encoder)
        if recipe.spike_budget is None:
            return {"loss": run.train_epoch(train_set, preprocessing, objective, progress)}
        with counted(encoder) as count:
            limited = _Limited(objective, count, config.time_steps, run)
            loss = run.train_epoch(train_set, preprocessing, limited, progress)
        return {"loss": loss, "spikes_per_synapse": limited.mean(), "multiplier": run.multiplier}

    def save(line: dict[str, Any]) -> None:
        kept = run.kept()
        if quantized:
            round_weights(kept)
        model = SpikeClip(kept, fold_readout(kept, objective.vectors.cpu()), objective.labels.names).eval()
        checkpoint = Checkpoint(model, preprocessing, _history(run, objective, train_set, start))
        test = None
        if line["time_steps"] == config.time_steps:
            if not quantized:
                calibrate(kept, preprocessing, train_set, recipe.calibration_images, device)
            if eval_set is not None:
                test = measure(checkpoint, eval_set, device, 32 if device == "cpu" else 512)
                line["accuracy"] = test["accuracy"]
        save_with_card(checkpoint, out, test)

    with fused_neurons(encoder):
        carry_out(run, out, identity, train_epoch, save, save_every)
    return load(out)


def _history(run: Run[Any], objective: Objective, images: ImageSet, start: FineTuning | None) -> dict[str, Any]:
    """How a checkpoint was made, for its card."""
    history: dict[str, Any] = {
        "recipe": run.recipe.to_dict(),
        "train": images.to_dict(),
        "epochs_done": run.epoch,
        "clip": objective.labels.clip,
        "cosine": objective.cosine,
    }
    if start is not None:
        history["start"] = start.to_dict()
    if objective.teacher is not None:
        history["teacher"] = objective.about_teacher()
    return history


def _embed_rounded(encoder: Encoder, inputs: Tensor, time_steps: int) -> Tensor:
    return functional_call(encoder, rounded_weights(encoder), (inputs, time_steps))


class _Limited:
    """An objective with the penalty on spikes above the budget, whose multiplier is the run's."""

    def __init__(self, objective: Objective, count: SpikeCount, time_steps: int, run: Run[Any]) -> None:
        self._objective, self._count, self._time_steps, self._run = objective, count, time_steps, run
        self._seen: list[float] = []

    def __call__(self, embeddings: Tensor, temperature: Tensor, batch: Batch, time_steps: int) -> Tensor:
        recipe = self._objective.recipe
        spikes = self._count.per_synapse(self._time_steps)
        self._seen.append(spikes.item())
        loss = self._objective(embeddings, temperature, batch, time_steps)
        above = penalty(spikes, recipe.spike_budget, recipe.spike_weight, self._run.multiplier)
        self._run.multiplier = next_multiplier(spikes.item(), recipe.spike_budget, self._run.multiplier)
        return loss + above

    def mean(self) -> float:
        """Spikes per synapse and image, over the batches so far."""
        return sum(self._seen) / len(self._seen)
