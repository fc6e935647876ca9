"""A training run: weights, their average and optimiser; epochs, and how one that was cut off goes on."""

import copy
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Sized
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from neuromorphic.files import atomic, write_text
from spikeclip.batches import batches, per_epoch
from spikeclip.data import ImageSet
from spikeclip.distributed import mean_of_all, processes, rank, synchronise, wait_for_all
from spikeclip.errors import RefusedInput
from spikeclip.muon import Muon
from spikeclip.preprocess import Preprocessing
from spikeclip.recipe import Recipe

LOOK = 8
"""Steps between two looks at the loss: an accelerator waits for each."""

Model = TypeVar("Model", bound=nn.Module)

Progress = Callable[[int, int, str], None]
"""Called with (steps done, steps in all, a line of figures)."""

Embed = Callable[[Model, Tensor, int], Tensor]
"""`embed(model, inputs, time steps)`: float32 `[B, embedding_width]`."""

Loss = Callable[[Tensor, Tensor, Any, int], Tensor]
"""`loss(embeddings, temperature, batch, time steps)`: the mean over the batch, as `batches.Batch`, float `[]`."""


def embedded(model: nn.Module, inputs: Tensor, time_steps: int) -> Tensor:
    """`model(inputs)`, with so many time steps."""
    return model(inputs, time_steps)


class _Trained(nn.Module):
    """One forward pass, and every parameter that gets a gradient, for DistributedDataParallel to wrap."""

    def __init__(self, model: nn.Module, temperature: nn.Parameter, embed: Embed[Any]) -> None:
        super().__init__()
        self.model, self.temperature, self.embed = model, temperature, embed

    def forward(self, inputs: Tensor, time_steps: int) -> Tensor:
        return self.embed(self.model, inputs, time_steps)


@dataclass
class Run(Generic[Model]):
    """Everything that training changes; what `state` returns is what resuming needs.

    Attributes:
        model: trained in place; its batch normalisation is synchronised where several processes train.
        recipe: the run's settings.
        device: of all tensors.
        embed: how the model makes embeddings of a batch.
        average: the averaged weights.
        temperature: factor on the cosines.
        optimizers: Muon of hidden layers where the recipe has it, and AdamW of the rest and of the temperature.
        multiplier: of the spike budget (`spike_budget`); 0 where the recipe has none.
        epoch: how many are done.
    """

    model: Model
    recipe: Recipe
    device: str
    embed: Embed[Model] = embedded
    average: Model = field(init=False)
    temperature: nn.Parameter = field(init=False)
    optimizers: list[torch.optim.Optimizer] = field(init=False)
    multiplier: float = 0.0
    epoch: int = 0

    def __post_init__(self) -> None:
        recipe = self.recipe
        self.model.to(self.device, memory_format=torch.channels_last)
        torch.backends.cudnn.benchmark = True  # of the few shapes that a run has, which kernels are fastest
        if self.device.startswith("cuda") and recipe.precision == "bf16":
            torch.set_float32_matmul_precision("high")  # TF32 for what stays in float32: three bits more than bfloat16
        learned = recipe.learn_temperature and recipe.stage != "align"
        self.temperature = nn.Parameter(torch.tensor(recipe.temperature, device=self.device), requires_grad=learned)
        self.optimizers = _optimizers(self.model, self.temperature, recipe)
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        self._step: nn.Module = _Trained(self.model, self.temperature, self.embed)
        if processes() > 1:
            synchronise(self.model)
            self._step = nn.parallel.DistributedDataParallel(self._step)

    def state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "temperature": self.temperature.detach(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "multiplier": self.multiplier,
            "epoch": self.epoch,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        with torch.no_grad():
            self.temperature.copy_(state["temperature"])
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)
        self.multiplier, self.epoch = state["multiplier"], state["epoch"]

    def kept(self) -> Model:
        """A copy of the averaged weights, to be saved, or of the last ones where the recipe averages none."""
        model = copy.deepcopy(self.average)
        if not self.recipe.ema:
            model.load_state_dict(self.model.state_dict())
        return model.float().cpu()

    def train_epoch(self, images: ImageSet, preprocessing: Preprocessing, loss: Loss, progress: Progress) -> float:
        """Train for one epoch, with the model in the mode it is in; the mean loss of all processes.

        Raises:
            RefusedInput: the loss is no longer finite.
        """
        shuffled = batches(images, preprocessing, self.recipe, self.epoch, self.device)
        return self.train_on(shuffled, per_epoch(images, self.recipe), loss, progress)

    def train_on(self, epoch: Iterable[Any], count: int, loss: Loss, progress: Progress) -> float:
        """Train on the `count` batches of an epoch, whatever has `inputs`; otherwise as `train_epoch`."""
        recipe, steps = self.recipe, self.recipe.time_steps(self.epoch)
        total = torch.zeros((), device=self.device)
        for i, batch in enumerate(epoch):
            done = self.epoch * count + i
            rate = recipe.learning_rate_at(done / (recipe.epochs * count)) / recipe.learning_rate
            for group in (group for optimizer in self.optimizers for group in optimizer.param_groups):
                group["lr"] = rate * group["peak"]
            with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=recipe.precision == "bf16"):
                embeddings = self._step(batch.inputs.to(self.device), steps)
            value = loss(embeddings.float(), self.temperature, batch, steps)
            for optimizer in self.optimizers:
                optimizer.zero_grad()
            value.backward()
            for optimizer in self.optimizers:
                optimizer.step()
            self._update_average(done - recipe.stage_start(self.epoch) * count)
            total += mean_of_all(value.detach())
            if i % LOOK == 0 or i + 1 == count:
                shown = total.item() / (i + 1)
            if not math.isfinite(shown):
                raise RefusedInput(f"epoch {self.epoch + 1}: the loss is {shown}; expected a lower --learning-rate")
            progress(i + 1, count, f"epoch {self.epoch + 1}/{recipe.epochs}  T={steps}  loss {shown:.3f}")
        return shown

    @torch.no_grad()
    def _update_average(self, step: int) -> None:
        """`a += (1 - d) (w - a)` on every weight and statistic; d grows from 0 to `ema`, to forget the start.

        `step` counts from where the number of time steps last changed: statistics of another T are of another network.
        """
        decay = min(self.recipe.ema, (1 + step) / (10 + step)) if self.recipe.ema else 0.0
        kept, new = ([*model.state_dict().values()] for model in (self.average, self.model))
        real = [tensor.is_floating_point() for tensor in kept]
        torch._foreach_lerp_([*compress(kept, real)], [*compress(new, real)], 1 - decay)
        counters = [not is_real for is_real in real]
        if any(counters):  # of batches that batch normalisation has seen; a text encoder has none
            torch._foreach_copy_([*compress(kept, counters)], [*compress(new, counters)])


def _optimizers(model: nn.Module, temperature: nn.Parameter, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """The optimisers of `recipe`; `peak` of each group is its learning rate at the peak of the curve."""
    hidden: list[nn.Parameter] = []
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.ndim <= 1:
            free.append(parameter)
        elif recipe.optimizer == "muon" and not name.startswith("head."):
            hidden.append(parameter)
        else:
            decayed.append(parameter)
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": [*free, temperature], "weight_decay": 0.0},
    ]
    found: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=recipe.learning_rate, amsgrad=recipe.amsgrad)]
    if hidden:
        found.append(Muon(hidden, recipe.muon_learning_rate, recipe.weight_decay))
    for group in (group for optimizer in found for group in optimizer.param_groups):
        group["peak"] = group["lr"]
    return found


def check_output(out: Path) -> None:
    """Refuse a place that can't be written, or that a finished run has written.

    Raises:
        RefusedInput: with the reason.
    """
    if out.is_file() and not _resume_path(out).is_file():
        raise RefusedInput(f"{out}: stands there already, and no unfinished run beside it; expected a new name")
    if out.is_dir() or not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise RefusedInput(f"{out}: can't be written; expected a file in a folder that exists and is writable")


def check_batches(examples: Sized, recipe: Recipe) -> None:
    """Refuse batches without equal shares for all processes: means over them would weigh examples differently.

    Raises:
        RefusedInput: the batch size is no multiple of their number.
    """
    count = min(recipe.batch_size, len(examples))
    if count % processes():
        raise RefusedInput(f"batches of {count} examples for {processes()} processes; expected equal shares")


def carry_out(
    run: Run[Any],
    out: Path,
    identity: dict[str, Any],
    train_epoch: Callable[[], dict[str, Any]],
    save: Callable[[dict[str, Any]], None],
    save_every: int = 1,
) -> None:
    """Train every epoch that is left, and save after each `save_every` and after the last.

    Args:
        run: at its start; restored from `OUT.resume` where that stands.
        out: the checkpoint; the log and the state stand beside it.
        identity: JSON-compatible: what this run must have in common with the one that it goes on with.
        train_epoch: trains one, and returns figures for the log.
        save: writes the checkpoint of `run` after an epoch, and adds what it measures to the line of the log.
        save_every: epochs; where they are shorter than saving takes.

    Raises:
        RefusedInput: `OUT.resume` is of another run.
    """
    resume, log = _resume_path(out), out.with_name(out.name + ".log.jsonl")
    if resume.is_file():
        _resume(run, resume, identity)
    wait_for_all()
    if rank() == 0:
        # A run that was cut off between its log and its state logs that epoch again.
        lines = log.read_text().splitlines(keepends=True)[: run.epoch] if log.is_file() else []
        write_text(log, "".join(lines))
    while run.epoch < run.recipe.epochs:
        began = time.perf_counter()
        figures = train_epoch()
        run.epoch += 1
        line = {"epoch": run.epoch, "time_steps": run.recipe.time_steps(run.epoch - 1), **figures}
        line["seconds"] = round(time.perf_counter() - began, 1)
        saved = run.epoch % save_every == 0 or run.epoch == run.recipe.epochs
        if rank() == 0:
            if saved:
                save(line)
            with log.open("a") as file:
                file.write(json.dumps(line) + "\n")
            if saved:
                _save_state(run, resume, identity)  # last: whatever is cut off before is done again, to the same bits
        wait_for_all()
    if rank() == 0:
        resume.unlink(missing_ok=True)
    wait_for_all()


def _resume_path(out: Path) -> Path:
    return out.with_name(out.name + ".resume")


def _save_state(run: Run[Any], path: Path, identity: dict[str, Any]) -> None:
    with atomic(path) as partial:
        torch.save({"identity": json.dumps(identity), **run.state()}, partial)


def _resume(run: Run[Any], path: Path, identity: dict[str, Any]) -> None:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        same = state["identity"] == json.dumps(identity)
    except Exception as error:
        raise RefusedInput(f"{path}: not a readable training state ({error}); delete it to start anew") from error
    if not same:
        raise RefusedInput(f"{path}: is of a run with another configuration, recipe or data; delete it to start anew")
    run.restore(state)
