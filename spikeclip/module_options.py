"""Options of a user's own module, parsed and checked; nothing of the module is run here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from spikeclip.errors import RefusedInput


@dataclass(frozen=True)
class ModuleOptions:
    """`--module` and what belongs to it.

    Attributes:
        spec: `FILE.py:FACTORY` or `package.module:factory`.
        weights: file of its state dictionary; None for the factory's own.
        frame: shape of a frame; None where it isn't said.
        time_steps: T, or None.
        axes: names of its input's axes, or None.
        kind: of numbers, or None.
        images: side by side while it is traced.
    """

    spec: str
    weights: Path | None
    frame: tuple[int, ...] | None
    time_steps: int | None
    axes: str | None
    kind: Literal["real", "spikes", "counts"] | None
    images: int

    @classmethod
    def of(
        cls,
        spec: str | None,
        weights: Path | None,
        frame: str | None,
        time_steps: int | None,
        axes: str | None,
        kind: Literal["real", "spikes", "counts"] | None,
        images: int | None,
    ) -> Self | None:
        """The options as they were given; None without a module.

        Raises:
            RefusedInput: what belongs to a module is said without one, or `frame` is no shape.
        """
        if spec is None:
            own = {"--weights": weights, "--input": frame, "--axes": axes, "--batch": images}
            for option in (option for option, value in own.items() if value is not None):
                raise RefusedInput(f"{option} is said of a module; expected --module FILE.py:FACTORY with it")
            return None
        return cls(spec, weights, _shape(frame), time_steps, axes, kind, images or 2)

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that are read."""
        home = self.spec.rpartition(":")[0]
        return tuple(path for path in (Path(home) if home.endswith(".py") else None, self.weights) if path is not None)


def _shape(frame: str | None) -> tuple[int, ...] | None:
    if frame is None:
        return None
    sizes = frame.split(",")
    if not all(size.isascii() and size.isdecimal() and int(size) > 0 for size in sizes):
        raise RefusedInput(f"--input is {frame!r}; expected the shape of a frame, as 3,32,32")
    return tuple(map(int, sizes))
