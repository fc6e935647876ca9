"""Images some at a time: the one rule by which batches and shards are cut, and who is told of their progress."""

from collections.abc import Callable, Iterator

Progress = Callable[[int, int], None]
"""Told (images done, images in all)."""


def silent(done: int, total: int) -> None:
    """Tell nobody of the progress."""


def batches(count: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover `count`."""
    return (slice(i, min(i + size, count)) for i in range(0, count, size))
