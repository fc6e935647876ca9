"""Checkpoints that come with the package.  No torch."""

from importlib import resources
from pathlib import Path


def shipped(kind: str = "") -> dict[str, Path]:
    """Encoders, or twins where `kind` is `twins`: name to path."""
    folder = Path(str(resources.files("spikeclip") / "checkpoints")) / kind
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}
