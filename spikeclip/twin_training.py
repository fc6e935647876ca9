"""Training of a conventional network, which then is a teacher: cross-entropy over cosines with label vectors."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from neuromorphic.cluster.ranges import batches
from spikeclip.calibration import calibrate
from spikeclip.checkpoint import check_preprocessing
from spikeclip.config import SpikeClipConfig
from spikeclip.data import ImageSet
from spikeclip.errors import RefusedInput
from spikeclip.labels import LabelSet
from spikeclip.objective import check_classes, find_objective, identify
from spikeclip.preprocess import Preprocessing
from spikeclip.recipe import Recipe
from spikeclip.teacher import Teacher, TwinTeacher
from spikeclip.training_run import Progress, Run, carry_out, check_batches, check_output
from spikeclip.twin_checkpoint import NETWORKS, TwinCheckpoint, load_twin, save_twin

BATCH_SIZE = 64
"""Images that a teacher looks at at a time where its accuracy is measured."""


def train_twin(
    config: SpikeClipConfig,
    recipe: Recipe,
    preprocessing: Preprocessing,
    train_set: ImageSet,
    eval_set: ImageSet | None,
    labels: LabelSet,
    out: Path,
    device: str = "cpu",
    progress: Progress = lambda done, total, text: None,
    save_every: int = 1,
    network: str = "twin",
) -> TwinCheckpoint:
    """Train the twin of an encoder, or another network, and write its checkpoint, as `training.train` does.

    Arguments as of that.  `config` is of the encoder whose twin it is; the recipe is of the stage `classify`, with one
    time step throughout, as a conventional network has; `network` is one of `twin_checkpoint.NETWORKS`.

    Raises:
        RefusedInput: as `training.train` does, or the recipe is one for spikes.
    """
    check_output(out)
    if recipe.stage != "classify" or recipe.spike_budget is not None or {t for t, _ in recipe.schedule} != {1}:
        raise RefusedInput(
            f"a twin has no time steps and no spikes, and is trained to classify; found stage {recipe.stage}, schedule "
            f"{recipe.to_dict()['schedule']}, spike budget {recipe.spike_budget}; expected a schedule such as 1x30"
        )
    objective = find_objective(recipe, train_set, labels, config.embedding_width, device)
    if eval_set is not None:
        check_classes(eval_set, objective.labels)
    check_batches(train_set, recipe)
    check_preprocessing("the run", config, preprocessing)

    torch.manual_seed(recipe.seed)
    run = Run(NETWORKS[network](config), recipe, device, _embed)
    about = {"config": config.to_dict(), "recipe": recipe.to_dict(), "preprocessing": preprocessing.to_dict()}
    identity = {"twin": True, **about, **identify(objective, train_set)}
    if network != "twin":
        identity["network"] = network

    def train_epoch() -> dict[str, Any]:
        run.model.train()
        return {"loss": run.train_epoch(train_set, preprocessing, objective, progress)}

    def save(line: dict[str, Any]) -> None:
        kept = run.kept()
        calibrate(kept, preprocessing, train_set, recipe.calibration_images, device)
        card: dict[str, Any] = {
            **about,
            "network": network,
            "train": {"images": len(train_set), "sha256": train_set.sha256},
            "epochs_done": run.epoch,
            "test": None,
        }
        names, scale = objective.labels.names, run.temperature.item()
        checkpoint = TwinCheckpoint(kept, config, preprocessing, names, scale, recipe.centred, card)
        if eval_set is not None:
            line["accuracy"] = accuracy(TwinTeacher(checkpoint, device), eval_set, objective.labels)
            card["test"] = {"images": len(eval_set), "sha256": eval_set.sha256, "accuracy": line["accuracy"]}
        save_twin(checkpoint, out)

    carry_out(run, out, identity, train_epoch, save, save_every)
    return load_twin(out)


def accuracy(teacher: Teacher, images: ImageSet, labels: LabelSet) -> float:
    """The fraction of `images` whose label has the teacher's largest logit.

    Raises:
        RefusedInput: the images have no labels, or other ones.
    """
    check_classes(images, labels)
    right = 0
    for part in batches(len(images), BATCH_SIZE):
        right += int((teacher.logits(images.images[part], labels).argmax(1) == images.known_labels[part]).sum())
    return right / len(images)


def _embed(network: nn.Module, inputs: Tensor, time_steps: int) -> Tensor:
    return network(inputs)
