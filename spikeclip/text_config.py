"""The configuration of the text encoder: every size that its parameters' shapes follow from.  No torch."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Self

from spikeclip.errors import RefusedInput

TOKENS = 20
"""Tokens of a sentence that the published encoder reads."""


@dataclass(frozen=True)
class TextEncoderConfig:
    """Sizes of a SpikeCLIP text encoder (arXiv 2310.06488); by default those of the published one, with CLIP ViT-B.

    Attributes:
        vocabulary: tokens that CLIP's tokenizer tells apart.
        positions: rows of CLIP's table of positions; the first `tokens` of them are used.
        token_width: dimensions of CLIP's token embeddings.
        tokens: of a sentence, with those that start, end and fill it.
        hidden_width: neurons of the hidden layer.
        embedding_width: dimensions of CLIP's embedding space.
        time_steps: simulation steps per sentence, T.
        tau: membrane time constant in time steps.
        v_threshold: firing threshold; a neuron fires at `v >= v_threshold`.

    Raises:
        RefusedInput: a size is out of range.
    """

    vocabulary: int = 49408
    positions: int = 77
    token_width: int = 512
    tokens: int = TOKENS
    hidden_width: int = 2048
    embedding_width: int = 512
    time_steps: int = 4
    tau: float = 2.0
    v_threshold: float = 1.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if name not in ("tau", "v_threshold") and (not isinstance(value, int) or value < 1):
                raise RefusedInput(f"{name} is {value!r}; expected a positive integer")
        for name, least in (("tau", 1), ("v_threshold", 0)):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not least < value < math.inf:
                raise RefusedInput(f"{name} is {value!r}; expected a number above {least}")
        if self.positions < self.tokens:
            raise RefusedInput(f"{self.positions} positions for {self.tokens} tokens; expected one for each")

    def to_dict(self) -> dict[str, Any]:
        """The configuration as a JSON-compatible dictionary."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The configuration from `to_dict`'s dictionary.

        Raises:
            RefusedInput: a key is unknown or missing, or a value is out of range.
        """
        wrong = sorted(set(values) ^ set(cls.__dataclass_fields__))
        if wrong:
            raise RefusedInput(f"configuration: unknown or missing {', '.join(wrong)}")
        return cls(**values)
