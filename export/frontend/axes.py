"""Axes of a module's input: which are time and images, which a frame."""

from dataclasses import dataclass

from torch import Tensor

from spikeclip.errors import RefusedInput


@dataclass(frozen=True)
class Axes:
    """The names of an input's axes, as `"BCHW"` or `"TBCHW"`: T of time, B of images, the others of a frame.

    Without T the module gets an image and presents it itself.
    """

    names: str

    def __post_init__(self) -> None:
        counts = [self.names.count(name) for name in "BT"]
        if counts[0] != 1 or counts[1] > 1 or len(set(self.names)) < len(self.names) or not self.names.isupper():
            raise RefusedInput(
                f"axes are {self.names!r}; expected letters with one B for images, one T for time where the input has "
                "it, and one for each dimension of a frame, as BCHW, TBCHW or BTCHW"
            )

    @property
    def timed(self) -> bool:
        """Whether the input has a time axis."""
        return "T" in self.names

    def images(self, shape: tuple[int, ...]) -> int:
        """B of an input of `shape`."""
        return shape[self.names.index("B")]

    def frame(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a frame; one of two dimensions, `[C, N]`, is a map of one column, as NIR's `Conv1d` is read."""
        named = tuple(n for n, name in zip(shape, self.names, strict=True) if name not in "TB")
        return (*named, 1) if len(named) == 2 else named

    def shape(self, frame: tuple[int, ...], images: int, time_steps: int) -> tuple[int, ...]:
        """The shape of an input.

        Raises:
            RefusedInput: a frame has more or fewer dimensions than the axes name.
        """
        named = len(self.names) - 1 - self.timed
        if named == 2 and frame[2:] == (1,):
            frame = frame[:2]
        if len(frame) != named:
            raise RefusedInput(f"axes {self.names} name {named} dimensions of a frame, which is {list(frame)}")
        rest = iter(frame)
        return tuple(images if a == "B" else time_steps if a == "T" else next(rest) for a in self.names)

    def from_time_first(self, x: Tensor) -> Tensor:
        """`[T, B, *frame]`, T = 1 of images, to an input."""
        order = ["T", "B", *(name for name in self.names if name not in "TB")]
        x = x.reshape(x.shape[: len(order)])
        if not self.timed:
            x, order = x[0], order[1:]
        return x.permute(*[order.index(name) for name in self.names])
