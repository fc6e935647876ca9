"""The text encoder in place of CLIP's own: sentences to embeddings, as `label_sets.prompt_ensemble` takes them."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from spikeclip.clip_text import ClipTokenizer
from spikeclip.errors import RefusedInput
from spikeclip.text_checkpoint import TextCheckpoint


class SpikingText:
    """`encoder(tokens(sentence))`: what `clip_text.ClipText` does, by spikes.

    Attributes:
        clip: the CLIP whose space the embeddings are of: what the checkpoint's card says, else the tokenizer's.

    Raises:
        RefusedInput: the tokenizer is not the one that the encoder was trained with.
    """

    def __init__(self, checkpoint: TextCheckpoint, tokenizer: ClipTokenizer) -> None:
        vocabulary, trained_with = checkpoint.config.vocabulary, checkpoint.card.get("tokenizer")
        if tokenizer.vocabulary > vocabulary or trained_with not in (None, tokenizer.sha256):
            raise RefusedInput(
                f"{checkpoint.path}: embeds {vocabulary} tokens of the CLIP that it was trained with; the tokenizer of "
                f"{tokenizer.clip} has {tokenizer.vocabulary}, and is another one; expected the same"
            )
        self._model, self._tokenizer = checkpoint.model, tokenizer
        self.clip = str(checkpoint.card.get("clip") or tokenizer.clip)

    @torch.no_grad()
    def text_features(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings of `sentences`, which are cut at the encoder's 20 tokens: float32 `[N, D]`."""
        tokens = self._tokenizer(sentences, self._model.config.tokens)
        return self._model(torch.from_numpy(tokens)).numpy()
