"""A graph run in Lava, in a process group of its own."""

from importlib.util import find_spec

MISSING = (
    "Lava is not installed; expected `spikeclip doctor --install-lava` before, or another target, as --backend fast"
)


def installed() -> bool:
    """Whether Lava's core is there; other packages of Intel's share its name."""
    try:
        return find_spec("lava.magma") is not None
    except ModuleNotFoundError:
        return False
