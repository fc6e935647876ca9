"""Names of the classes of data sets whose files don't carry them, in the order of their class numbers."""

import tomllib
from functools import cache
from importlib import resources


@cache
def official_names(kind: str) -> tuple[str, ...]:
    """The names of `cifar10`, `cifar100`, `stl10` or `flowers102`, as the data sets' authors or CLIP's have them."""
    text = (resources.files("spikeclip.data") / "class_names.toml").read_text(encoding="utf-8")
    return tuple(tomllib.loads(text)[kind])
