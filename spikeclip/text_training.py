"""Training of the text encoder: alignment to CLIP's own text features, of the sentences that labels are put into."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from neuromorphic.cluster import ranges
from spikeclip.batches import per_epoch
from spikeclip.clip_text import ClipText
from spikeclip.distributed import share
from spikeclip.errors import RefusedInput
from spikeclip.losses import alignment_loss
from spikeclip.recipe import Recipe
from spikeclip.text_checkpoint import TextCheckpoint, load_text, save_text
from spikeclip.text_config import TOKENS, TextEncoderConfig
from spikeclip.text_encoder import SpikingTextEncoder, start_from_clip
from spikeclip.training_run import Progress, Run, carry_out, check_batches, check_output

EMBEDDING_BATCH = 256
"""Sentences that an encoder reads at a time where nothing is trained."""

HIDDEN_RATIO = 4
"""Hidden neurons over the width of CLIP's token embeddings, as published."""

_PUBLISHED = Recipe(
    schedule=((4, 2000),),
    stage="align",
    batch_size=1024,
    learning_rate=5e-3,
    final_learning_rate=5e-4,
    amsgrad=True,
    weight_decay=0.0,
    warmup=0.0,
    ema=0.0,
)

TEXT_RECIPES: dict[str, Recipe] = {
    "published": _PUBLISHED,
    "short": replace(_PUBLISHED, schedule=((4, 300),), batch_size=256, learning_rate=1e-2),
}
"""The recipe of the published code, and one for a few hundred sentences on a CPU.

Entries of CLIP's tables are far smaller than a neuron's threshold, so that nothing fires at first.  The tables are
trained too, as in the published code; a good part of the steps goes into bringing them there (docs/training.md).
"""


@dataclass(frozen=True)
class Sentences:
    """Sentences, as the encoder reads them and as CLIP understands them.

    Attributes:
        texts: all different.
        tokens: int64 `[N, L]`.
        features: CLIP's, of those tokens: float32 `[N, D]`.
    """

    texts: tuple[str, ...]
    tokens: NDArray[np.int64]
    features: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def sha256(self) -> str:
        """The hash of the tokens and the features."""
        return hashlib.sha256(self.tokens.tobytes() + self.features.tobytes()).hexdigest()


@dataclass(frozen=True)
class SentenceBatch:
    """Sentences of one step: one process's share of them.

    Attributes:
        indices: which, int64 `[B]`.
        inputs: their tokens, int64 `[B, L]`.
    """

    indices: NDArray[np.int64]
    inputs: Tensor


def read_by(
    clip: ClipText, texts: Sequence[str], progress: Callable[[int, int], None] = lambda done, total: None
) -> Sentences:
    """The sentences, each once, with their tokens and CLIP's features; both cut at the published 20 tokens.

    Raises:
        RefusedInput: there are fewer than two.
    """
    unique = tuple(dict.fromkeys(texts))
    if len(unique) < 2:
        raise RefusedInput(f"sentences are {', '.join(unique) or 'none'}; expected two or more, all different")
    parts = []
    for part in ranges.batches(len(unique), EMBEDDING_BATCH):
        progress(part.start, len(unique))
        parts.append(clip.text_features(unique[part], TOKENS))
    progress(len(unique), len(unique))
    return Sentences(unique, clip.tokenizer(unique, TOKENS), np.concatenate(parts))


def train_text(
    clip: ClipText,
    recipe: Recipe,
    train_set: Sentences,
    eval_set: Sentences | None,
    out: Path,
    device: str = "cpu",
    progress: Progress = lambda done, total, text: None,
    save_every: int = 1,
) -> TextCheckpoint:
    """Train a text encoder on `mean_b (1 - cos(e_b, f_b))` and write its checkpoint to `out`, as `training.train` does.

    Args:
        clip: has the tables that training starts from, and decides the sizes.
        recipe: of the stage `align`.
        train_set: sentences with CLIP's features f.
        eval_set: sentences to measure on beside those trained on; None to measure none.
        out: path of the checkpoint.
        device: `cpu`, `cuda`, ...
        progress: told of every step.
        save_every: epochs between checkpoints; a run that is cut off goes on from the last one.

    Raises:
        RefusedInput: `out` can't be written or is there already, `out.resume` is of another run, batches have no equal
            shares for all processes, the recipe is of another stage, or the loss is no longer finite.
    """
    check_output(out)
    if recipe.stage != "align" or recipe.spike_budget is not None or save_every < 1:
        raise RefusedInput(
            f"a text encoder is aligned to CLIP and saved every few epochs; found stage {recipe.stage}, spike budget "
            f"{recipe.spike_budget}, {save_every} epochs; expected align, none and a positive number"
        )
    check_batches(train_set, recipe)
    tokens, positions = clip.tables()
    config = TextEncoderConfig(
        vocabulary=len(tokens),
        positions=len(positions),
        token_width=tokens.shape[1],
        tokens=train_set.tokens.shape[1],
        hidden_width=HIDDEN_RATIO * tokens.shape[1],
        embedding_width=train_set.features.shape[1],
        time_steps=recipe.schedule[-1][0],
    )
    torch.manual_seed(recipe.seed)
    model = SpikingTextEncoder(config)
    start_from_clip(model, tokens, positions)
    run = Run(model, recipe, device)
    features = torch.from_numpy(train_set.features).to(device)
    made_by = {"clip": clip.clip, "tokenizer": clip.tokenizer.sha256}
    about = {"config": config.to_dict(), "recipe": recipe.to_dict(), **made_by}
    tables = hashlib.sha256(tokens.numpy().tobytes() + positions.numpy().tobytes()).hexdigest()
    identity = {"text": True, **about, "tables": tables, "data": train_set.sha256}

    def train_epoch() -> dict[str, Any]:
        run.model.train()
        shuffled = batches(train_set, recipe, run.epoch)
        return {"loss": run.train_on(shuffled, per_epoch(train_set, recipe), loss, progress)}

    def loss(embeddings: Tensor, temperature: Tensor, batch: SentenceBatch, time_steps: int) -> Tensor:
        return alignment_loss(embeddings, features[torch.from_numpy(batch.indices).to(device)])

    def save(line: dict[str, Any]) -> None:
        kept = run.kept().eval()
        measured = {"train": measure(kept, train_set, device)}
        if eval_set is not None:
            measured["test"] = measure(kept, eval_set, device)
        line.update({f"{name}_nearest": figures["nearest"] for name, figures in measured.items()})
        card = {**about, "parameters": sum(p.numel() for p in kept.parameters()), "epochs_done": run.epoch}
        save_text(TextCheckpoint(kept.cpu(), {**card, "test": None, **measured}), out)

    carry_out(run, out, identity, train_epoch, save, save_every)
    return load_text(out)


def batches(sentences: Sentences, recipe: Recipe, epoch: int) -> Iterator[SentenceBatch]:
    """Shuffled batches of one epoch, a function of seed and epoch only, as `batches.batches` of images."""
    order = np.random.default_rng((recipe.seed, epoch)).permutation(len(sentences))
    for i in range(per_epoch(sentences, recipe)):
        chosen = order[i * recipe.batch_size : (i + 1) * recipe.batch_size]
        mine = chosen[share(len(chosen))]
        yield SentenceBatch(mine, torch.from_numpy(sentences.tokens[mine]))


@torch.no_grad()
def measure(model: SpikingTextEncoder, sentences: Sentences, device: str = "cpu") -> dict[str, Any]:
    """Alignment to CLIP's features f of `sentences`.

    Returns:
        `{"sentences", "sha256", "cosine", "constant", "nearest"}`: the mean of cos(e_i, f_i); what the best constant e
        would have, `|mean_i f_i / |f_i||`, since CLIP's features are alike; and how often f_i is the nearest of all f.
    """
    model.to(device)
    targets = F.normalize(torch.from_numpy(sentences.features).to(device), dim=1)
    total = nearest = 0.0
    for part in ranges.batches(len(sentences), EMBEDDING_BATCH):
        embeddings = model(torch.from_numpy(sentences.tokens[part]).to(device))
        cosines = F.normalize(embeddings, dim=1) @ targets.T
        own = torch.arange(part.start, part.stop, device=device)
        total += cosines.gather(1, own[:, None]).sum().item()
        nearest += (cosines.argmax(1) == own).sum().item()
    n = len(sentences)
    figures = {"cosine": total / n, "constant": targets.mean(0).norm().item(), "nearest": nearest / n}
    return {"sentences": n, "sha256": sentences.sha256, **figures}
