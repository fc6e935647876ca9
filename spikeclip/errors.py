"""The one exception for input that is not understood."""

import re


class RefusedInput(ValueError):
    """Input that is refused: one sentence that names the file or node, what was found and what was expected.

    Console scripts print it and exit with code 2.
    """


def first_line(error: Exception) -> str:
    """What a library's exception says, as a refusal quotes it: its first line, or its type where it says nothing.

    Colours and other codes for terminals are left out.
    """
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", str(error)).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
