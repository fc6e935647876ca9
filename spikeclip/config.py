"""The configuration of an encoder: every size that its parameters' shapes follow from."""

import math
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any, Literal, Self

from neuromorphic.errors import meant
from spikeclip.errors import RefusedInput

Architecture = Literal["spike-driven", "paper"]

DOWNSAMPLING = 4
"""Width of an image over width of the token grid: the stem halves the image twice."""

ATTENTION_SCALE: dict[Architecture, float] = {"spike-driven": 0.5, "paper": 0.125}
"""Factor of the attention's sums where a configuration doesn't say; 0.125 is the published one, for any head width."""


MOST_STEPS = 1000
"""Time steps; the readout begins with weights of 2^(t - T), which float64 holds down to 2^-1074."""


@dataclass(frozen=True)
class SpikeClipConfig:
    """Sizes of a SpikeCLIP image encoder (arXiv 2310.06488, figure 2).

    Images are float32 `[C, H, W]` with `H = W = image_size`; tokens are a grid of `image_size / 4` squared positions.

    Attributes:
        architecture: `spike-driven` (standard NIR nodes only) or `paper` (the published encoder).
        width: channels of the residual stream, D, at least 8: the stem starts at D / 8 channels, rounded down. A
            multiple of 8 in `spike-driven`.
        depth: number of transformer blocks.
        heads: attention heads of the `paper` architecture; `spike-driven` attention masks channels one by one.
        mlp_ratio: hidden channels of a block's MLP over D; `int(mlp_ratio * D)` of them.
        time_steps: simulation steps per image, T.
        image_size: height and width in pixels; a multiple of 4.
        image_channels: channels of an image.
        embedding_width: dimensions of CLIP's embedding space.
        tau: membrane time constant in time steps.
        v_threshold: firing threshold; a neuron fires at `v >= v_threshold`, the neurons behind self-attention at half
            of it.
        attention_scale: factor of the token sum in spike-driven attention, of `Q (KᵀV)` in self-attention; a power of
            two, so that it is exact. 0 stands for the architecture's own: 0.5, or 0.125 as published.
        stem_pools: two of the stem's first four convolutions, counted from 1: behind them it halves height and width.
        stem_channels: output channels of the stem's first four convolutions; the fifth has D. Empty stands for the
            published D / 8, D / 4, D / 2, D.

    Raises:
        RefusedInput: a size is out of range or not divisible as the architecture needs.
    """

    architecture: Architecture = "spike-driven"
    width: int = 384
    depth: int = 4
    heads: int = 8
    mlp_ratio: float = 4
    time_steps: int = 4
    image_size: int = 32
    image_channels: int = 3
    embedding_width: int = 512
    tau: float = 2.0
    v_threshold: float = 1.0
    attention_scale: float = 0.0
    stem_pools: tuple[int, ...] = (3, 4)
    stem_channels: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.architecture not in ("spike-driven", "paper"):
            raise RefusedInput(f"architecture is {self.architecture!r}; expected 'spike-driven' or 'paper'")
        if self.attention_scale == 0:
            object.__setattr__(self, "attention_scale", ATTENTION_SCALE[self.architecture])
        for name in ("width", "depth", "heads", "time_steps", "image_channels", "embedding_width"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise RefusedInput(f"{name} is {value!r}; expected a positive integer")
        if self.time_steps > MOST_STEPS:
            raise RefusedInput(f"time_steps is {self.time_steps}; expected at most {MOST_STEPS}")
        if self.width < 8:
            raise RefusedInput(f"width is {self.width}; expected at least 8")
        if self.architecture == "spike-driven" and self.width % 8:
            raise RefusedInput(f"width is {self.width}; expected a multiple of 8")
        if self.architecture == "paper" and self.width % self.heads:
            raise RefusedInput(f"width {self.width} is not divisible by heads {self.heads}")
        if not isinstance(self.image_size, int) or self.image_size < 4 or self.image_size % DOWNSAMPLING:
            raise RefusedInput(f"image_size is {self.image_size!r}; expected a positive multiple of {DOWNSAMPLING}")
        for name in ("mlp_ratio", "tau", "v_threshold", "attention_scale"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 < value < math.inf:
                raise RefusedInput(f"{name} is {value!r}; expected a positive number")
        if self.hidden_width < 1:
            raise RefusedInput(f"mlp_ratio is {self.mlp_ratio} at width {self.width}; expected a hidden channel")
        if self.tau <= 1:
            raise RefusedInput(f"tau is {self.tau}; expected more than 1 time step")
        if math.frexp(self.attention_scale)[0] != 0.5:
            raise RefusedInput(f"attention_scale is {self.attention_scale}; expected a power of two")
        if self.stem_pools not in tuple(combinations(range(1, 5), 2)):
            raise RefusedInput(f"stem_pools is {self.stem_pools!r}; expected two of 1, 2, 3, 4 in order")
        if not isinstance(self.stem_channels, tuple) or len(self.stem_channels) not in (0, 4):
            raise RefusedInput(f"stem_channels is {self.stem_channels!r}; expected four numbers, or none")
        if any(not isinstance(n, int) or n < 1 for n in self.stem_channels):
            raise RefusedInput(f"stem_channels is {self.stem_channels!r}; expected positive integers")

    @property
    def stem_widths(self) -> tuple[int, ...]:
        """Output channels of the five convolutions of the stem."""
        d = self.width
        return (*(self.stem_channels or (d // 8, d // 4, d // 2, d)), d)

    @property
    def hidden_width(self) -> int:
        """Hidden channels of a block's MLP."""
        return int(self.width * self.mlp_ratio)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        return self.image_channels, self.image_size, self.image_size

    @property
    def grid(self) -> int:
        """Tokens along one side of the token grid."""
        return self.image_size // DOWNSAMPLING

    def to_dict(self) -> dict[str, Any]:
        """The configuration as a JSON-compatible dictionary; a stem as published isn't in it (`SINCE`)."""
        values = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}
        return {name: v for name, v in values.items() if name not in SINCE or v != list(SINCE[name])}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The configuration from `to_dict`'s dictionary.

        Raises:
            RefusedInput: a key is unknown or missing, or a value is out of range.
        """
        wrong = sorted(({*values} | {*SINCE}) ^ {*cls.__dataclass_fields__})
        if wrong:
            raise RefusedInput(f"configuration: unknown or missing {', '.join(wrong)}")
        return cls(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})


SINCE: dict[str, tuple[int, ...]] = {"stem_pools": (3, 4), "stem_channels": ()}
"""Fields that the first checkpoints don't have, and what they stand for there.

Files leave them out where they say just that, so that an old checkpoint that is written again has the same bytes.
"""


_SIZES: dict[str, dict[str, int]] = {
    "tiny": {"width": 64, "depth": 2, "heads": 4},
    "small": {"width": 128, "depth": 2, "heads": 4},
    "base": {"width": 384, "depth": 4, "heads": 8},
}

PRESETS: dict[str, SpikeClipConfig] = {
    f"{architecture}-{size}": SpikeClipConfig(architecture=architecture, **sizes)
    for architecture in ("spike-driven", "paper")
    for size, sizes in _SIZES.items()
} | {
    "spike-driven-small-early": SpikeClipConfig(
        width=128, depth=2, heads=4, stem_pools=(2, 3), stem_channels=(16, 48, 96, 128)
    ),
    "spike-driven-medium": SpikeClipConfig(
        width=256, depth=2, heads=8, stem_pools=(2, 3), stem_channels=(64, 160, 256, 256)
    ),
    "paper-medium": SpikeClipConfig(architecture="paper", width=256, depth=3, heads=8),
}


def preset(name: str, **changes: Any) -> SpikeClipConfig:
    """The preset of that name, with fields replaced by `changes`.

    Raises:
        RefusedInput: there is no such preset, or a change is out of range.
    """
    if name not in PRESETS:
        raise RefusedInput(f"preset {name!r} is unknown; expected one of {', '.join(PRESETS)}{meant(name, PRESETS)}")
    return replace(PRESETS[name], **changes)
