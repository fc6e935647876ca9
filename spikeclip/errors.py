"""The one exception for input that is not understood, and what libraries' exceptions are quoted by."""

import re

from neuromorphic.errors import RefusedInput

__all__ = ["RefusedInput", "first_line"]


def first_line(error: Exception) -> str:
    """What a library's exception says, as a refusal quotes it: its first line, or its type where it says nothing.

    Colours and other codes for terminals are left out.
    """
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", str(error)).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
