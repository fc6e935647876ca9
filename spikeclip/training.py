"""Training: cross-entropy over cosine similarities with label directions, by surrogate gradients."""

import copy
import hashlib
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from spikeclip.batches import batches
from spikeclip.card import measure, save_with_card
from spikeclip.checkpoint import Checkpoint, load
from spikeclip.config import SpikeClipConfig
from spikeclip.data import ImageSet
from spikeclip.encoder import Encoder, SpikeClip, fold_readout
from spikeclip.errors import RefusedInput
from spikeclip.fine_tuning import FineTuning
from spikeclip.labels import LabelSet
from spikeclip.preprocess import Preprocessing
from spikeclip.quantized import freeze_statistics, round_weights, rounded_weights
from spikeclip.recipe import Recipe

Progress = Callable[[int, int, str], None]
"""Called with (steps done, steps in all, a line of figures)."""


@dataclass
class _Run:
    """Everything that a training run changes; what `state` returns is what resuming needs."""

    encoder: Encoder
    average: Encoder
    temperature: nn.Parameter
    optimizer: torch.optim.Optimizer
    quantized: bool
    epoch: int = 0

    def state(self) -> dict[str, Any]:
        return {
            "encoder": self.encoder.state_dict(),
            "average": self.average.state_dict(),
            "temperature": self.temperature.detach(),
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.encoder.load_state_dict(state["encoder"])
        self.average.load_state_dict(state["average"])
        with torch.no_grad():
            self.temperature.copy_(state["temperature"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch = state["epoch"]


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
) -> Checkpoint:
    """Train an encoder and write its checkpoint to `out`; a run that was cut off goes on where its last epoch ended.

    Beside `out` stand `out.log.jsonl`, one JSON line per epoch, the card (`.json`), and during the run `out.resume`.
    On the CPU, the same seed and number of threads give the same weights, whether or not the run was interrupted.

    Args:
        config: the encoder's sizes.
        recipe: the run's settings.
        preprocessing: becomes part of the checkpoint.
        train_set: images with labels.
        eval_set: images with labels to measure the accuracy on, after every epoch at the encoder's own T; None to
            measure none.
        labels: names and vectors; reordered to the training set's label names where it has some.
        out: path of the checkpoint.
        device: `cpu`, `cuda`, ...
        progress: told of every step.
        start: what to start from; None for random weights.

    Returns:
        The checkpoint that was written.

    Raises:
        RefusedInput: the sets have no labels or other ones, sizes don't fit, `out` can't be written or is there
            already, `out.resume` is of another run, the checkpoint to start from has another configuration or
            preprocessing, weights would be rounded twice, or the loss is no longer finite.
    """
    resume, log = out.with_name(out.name + ".resume"), out.with_name(out.name + ".log.jsonl")
    if out.is_file() and not resume.is_file():
        raise RefusedInput(f"{out}: stands there already, and no unfinished run beside it; expected a new name")
    if out.is_dir() or not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise RefusedInput(f"{out}: can't be written; expected a file in a folder that exists and is writable")
    if train_set.labels is None:
        raise RefusedInput(f"images {train_set.source!r}: no labels to train on")
    if recipe.schedule[-1][0] != config.time_steps:
        raise RefusedInput(
            f"the schedule ends at T = {recipe.schedule[-1][0]}; expected the encoder's {config.time_steps}"
        )
    if train_set.label_names:
        labels = labels.ordered(train_set.label_names)
    _check_labels(train_set, labels)
    if eval_set is not None:
        _check_labels(eval_set, labels)
    if labels.vectors.shape[1] != config.embedding_width:
        raise RefusedInput(f"label vectors have width {labels.vectors.shape[1]}; expected {config.embedding_width}")
    if start is not None:
        start.check(config, preprocessing, recipe)

    torch.manual_seed(recipe.seed)
    directions = torch.from_numpy(labels.directions()).to(device)
    run = _start(config, recipe, device, start)
    identity = {
        "config": config.to_dict(),
        "recipe": recipe.to_dict(),
        "preprocessing": preprocessing.to_dict(),
        "data": train_set.sha256,
        "labels": [list(labels.names), hashlib.sha256(labels.vectors.tobytes()).hexdigest()],
    }
    if start is not None:
        identity["start"] = start.to_dict()
    if resume.is_file():
        _resume(run, resume, identity)
    # A run that was cut off between its log and its state logs that epoch again.
    lines = log.read_text().splitlines(keepends=True)[: run.epoch] if log.is_file() else []
    log.write_text("".join(lines))

    while run.epoch < recipe.epochs:
        began = time.perf_counter()
        loss = _train_epoch(run, recipe, preprocessing, train_set, directions, device, progress)
        run.epoch += 1
        line = {"epoch": run.epoch, "time_steps": recipe.time_steps(run.epoch - 1), "loss": loss}
        line["seconds"] = round(time.perf_counter() - began, 1)
        checkpoint = _checkpoint(run, recipe, directions, labels.names, preprocessing)
        test = None
        if line["time_steps"] == config.time_steps:
            if not run.quantized:
                calibrate(checkpoint, train_set, recipe.calibration_images, device)
            if eval_set is not None:
                test = measure(checkpoint, eval_set, device)
                line["accuracy"] = test["accuracy"]
        with log.open("a") as file:
            file.write(json.dumps(line) + "\n")
        history: dict[str, Any] = {
            "recipe": recipe.to_dict(),
            "train": {
                "source": Path(train_set.source.split(":")[0]).name,
                "images": len(train_set),
                "sha256": train_set.sha256,
            },
            "epochs_done": run.epoch,
            "clip": labels.clip,
        }
        if start is not None:
            history["start"] = start.to_dict()
        save_with_card(replace(checkpoint, card=history), out, test)
        _save_state(run, resume, identity)  # last: whatever is cut off before is done again, to the same bits
    resume.unlink(missing_ok=True)
    return load(out)


def _check_labels(images: ImageSet, labels: LabelSet) -> None:
    if images.labels is None:
        raise RefusedInput(f"images {images.source!r}: no labels to measure accuracy with")
    if images.label_names and images.label_names != labels.names:
        raise RefusedInput(
            f"images {images.source!r}: their labels are {', '.join(images.label_names[:12])}; "
            f"expected {', '.join(labels.names[:12])}"
        )
    if int(images.labels.max()) >= len(labels.names):
        raise RefusedInput(
            f"images {images.source!r}: label {images.labels.max()}; the label set has {len(labels.names)}"
        )


@torch.no_grad()
def calibrate(checkpoint: Checkpoint, images: ImageSet, count: int, device: str = "cpu", batch_size: int = 64) -> None:
    """Measure the statistics of batch normalisation anew, in place, on the first `count` of `images`.

    Averaged weights make currents that training never normalised; what an average of its statistics says of them is
    off by as much as the weights have moved (as in `torch.optim.swa_utils.update_bn`).
    """
    encoder = checkpoint.model.encoder.to(device)
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # a plain mean over the batches
    encoder.train()
    for i in range(0, min(count, len(images)), batch_size):
        x = checkpoint.preprocessing(images.images[i : min(i + batch_size, count)])
        encoder(torch.from_numpy(x).to(device))
    encoder.eval()


def _start(config: SpikeClipConfig, recipe: Recipe, device: str, start: FineTuning | None) -> _Run:
    encoder = Encoder(config) if start is None else copy.deepcopy(start.checkpoint.model.encoder).requires_grad_()
    encoder = encoder.to(device, memory_format=torch.channels_last)
    temperature = nn.Parameter(torch.tensor(recipe.temperature, device=device))
    decayed = [p for p in encoder.parameters() if p.ndim > 1]
    free = [p for p in encoder.parameters() if p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": [*free, temperature], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate)
    average = copy.deepcopy(encoder).requires_grad_(False)
    return _Run(encoder, average, temperature, optimizer, start is not None and start.quantized)


def _train_epoch(
    run: _Run,
    recipe: Recipe,
    preprocessing: Preprocessing,
    images: ImageSet,
    directions: Tensor,
    device: str,
    progress: Progress,
) -> float:
    run.encoder.train()
    if run.quantized:
        freeze_statistics(run.encoder)
    steps = recipe.time_steps(run.epoch)
    per_epoch = max(1, len(images) // recipe.batch_size)
    total = 0.0
    for i, (x, y) in enumerate(batches(images, preprocessing, recipe, run.epoch)):
        done = run.epoch * per_epoch + i
        for group in run.optimizer.param_groups:
            group["lr"] = recipe.learning_rate_at(done / (recipe.epochs * per_epoch))
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=recipe.precision == "bf16"):
            weights = rounded_weights(run.encoder) if run.quantized else {}
            embedding = functional_call(run.encoder, weights, (x.to(device), steps))
        cosine = F.normalize(embedding.float(), dim=1) @ directions.T
        loss = F.cross_entropy(run.temperature * cosine, y.to(device), label_smoothing=recipe.label_smoothing)
        run.optimizer.zero_grad()
        loss.backward()
        run.optimizer.step()
        _update_average(run, recipe.ema, done - recipe.stage_start(run.epoch) * per_epoch)
        total += loss.item()
        if not math.isfinite(total):
            raise RefusedInput(f"epoch {run.epoch + 1}: the loss is {loss.item()}; expected a lower --learning-rate")
        progress(i + 1, per_epoch, f"epoch {run.epoch + 1}/{recipe.epochs}  T={steps}  loss {total / (i + 1):.3f}")
    return total / per_epoch


@torch.no_grad()
def _update_average(run: _Run, ema: float, step: int) -> None:
    """`a += (1 - d) (w - a)` on every weight and statistic; d grows from 0 to `ema` so that the start is forgotten.

    `step` counts from where the number of time steps last changed: statistics of another T are of another network.
    """
    decay = min(ema, (1 + step) / (10 + step)) if ema else 0.0
    for kept, new in zip(run.average.state_dict().values(), run.encoder.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)


def _checkpoint(
    run: _Run,
    recipe: Recipe,
    directions: Tensor,
    names: tuple[str, ...],
    preprocessing: Preprocessing,
) -> Checkpoint:
    encoder = copy.deepcopy(run.average if recipe.ema else run.encoder).float()
    if run.quantized:
        round_weights(encoder)
    readout = fold_readout(encoder.cpu(), directions.cpu())
    return Checkpoint(SpikeClip(encoder, readout, names).eval(), preprocessing)


def _save_state(run: _Run, path: Path, identity: dict[str, Any]) -> None:
    partial = path.with_name(path.name + ".partial")
    torch.save({"identity": json.dumps(identity), **run.state()}, partial)
    partial.replace(path)


def _resume(run: _Run, path: Path, identity: dict[str, Any]) -> None:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        same = state["identity"] == json.dumps(identity)
    except Exception as error:
        raise RefusedInput(f"{path}: not a readable training state ({error}); delete it to start anew") from error
    if not same:
        raise RefusedInput(f"{path}: is of a run with another configuration, recipe or data; delete it to start anew")
    run.restore(state)
