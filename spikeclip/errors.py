"""The one exception for input that is not understood."""


class RefusedInput(ValueError):
    """Input that is refused: one sentence that names the file or node, what was found and what was expected.

    Console scripts print it and exit with code 2.
    """
