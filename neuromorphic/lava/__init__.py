"""A graph run in Lava, in a process group of its own."""

from importlib.util import find_spec

MISSING = (
    "Lava is not installed; expected `spikeclip doctor --install-lava` before, or another target, as --backend fast"
)


def installed() -> bool:
    """Whether Lava's core is installed; other packages of Intel share the name `lava`."""
    try:
        return find_spec("lava.magma") is not None
    except ModuleNotFoundError:
        return False
