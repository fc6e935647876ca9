"""The SpikeCLIP text encoder in SpikingJelly layers (arXiv 2310.06488; class `Language_Encoder` of its code).

Its parameters have the names and shapes of the published class, so that state dicts go both ways.
"""

import torch
from spikingjelly.activation_based import functional
from torch import Tensor, nn

from spikeclip.encoder import initial_time_weights
from spikeclip.errors import RefusedInput
from spikeclip.neurons import lif
from spikeclip.text_config import TextEncoderConfig


class ClipEmbedding(nn.Module):
    """`e_i = E[token_i] + P[i]`: CLIP's embedding of tokens and of their positions.

    Shapes: int64 `[B, L]` to float `[B, L, token_width]`.
    """

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(config.vocabulary, config.token_width)
        self.position_embedding = nn.Embedding(config.positions, config.token_width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.token_embedding(tokens) + self.position_embedding.weight[: tokens.shape[1]]


class SpikingTextEncoder(nn.Module):
    """`Σ_t w_t (W₂ LIF(W₁ LIF(flatten(e(tokens))) + b₁) + b₂)_t`: sentences into CLIP's embedding space.

    The embeddings e are presented T times, every step the same, with learned w.  Membranes start at rest for every
    call.  All tokens count, those too that fill a sentence up.

    Shapes: int64 `[B, tokens]` to float `[B, embedding_width]`.

    Attributes:
        config: its sizes.
        clip_embedding: CLIP's tables.
        weights_tensor: the w, float `[1, T, 1]`.
    """

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.clip_embedding = ClipEmbedding(config)
        self.mlp_lif1 = lif(config)
        self.fc1 = nn.Linear(config.tokens * config.token_width, config.hidden_width)
        self.mlp_lif2 = lif(config)
        self.fc2 = nn.Linear(config.hidden_width, config.embedding_width)
        self.weights_tensor = nn.Parameter(initial_time_weights(config.time_steps).view(1, -1, 1))

    def forward(self, tokens: Tensor, time_steps: int | None = None) -> Tensor:
        """Embeddings; `time_steps` overrides the configuration's T, as in `encoder.Encoder.features`."""
        functional.reset_net(self)
        steps = self.config.time_steps if time_steps is None else time_steps
        x = self.clip_embedding(tokens).flatten(1)
        x = self.mlp_lif1(x.unsqueeze(0).expand(steps, *x.shape))
        x = self.fc2(self.mlp_lif2(self.fc1(x)))
        weights = self.weights_tensor.flatten()
        if steps != len(weights):
            weights = (weights.sum() / steps).expand(steps)
        return torch.einsum("t,tbd->bd", weights, x.to(weights.dtype))


def start_from_clip(encoder: SpikingTextEncoder, tokens: Tensor, positions: Tensor) -> None:
    """`E = E_CLIP`, `P = P_CLIP`, in place: where training starts.

    Args:
        encoder: whose tables are written.
        tokens: CLIP's token embeddings, float `[vocabulary, token_width]`.
        positions: of its positions, float `[positions, token_width]`.

    Raises:
        RefusedInput: the tables have other shapes than the encoder's.
    """
    embedding = encoder.clip_embedding
    for name, table in (("token", tokens), ("position", positions)):
        weight = getattr(embedding, f"{name}_embedding").weight
        if weight.shape != table.shape:
            raise RefusedInput(f"CLIP's {name} embeddings are {list(table.shape)}; expected {list(weight.shape)}")
        with torch.no_grad():
            weight.copy_(table)
