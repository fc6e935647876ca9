"""Images some at a time: the one rule by which batches and shards are cut."""

from collections.abc import Iterator


def batches(count: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover `count`."""
    return (slice(i, min(i + size, count)) for i in range(0, count, size))
