"""Exceptions: input that is refused, and a simulation that failed."""


class RefusedInput(ValueError):
    """Input that is refused: one sentence that names the file or node, what was found and what was expected.

    Console scripts print it and exit with code 2.
    """


class SimulationFailed(RuntimeError):
    """Lava died, raised or ran over its time limit; the message holds its last words."""
