"""The one exception for input that is not understood, and what libraries' exceptions are quoted by."""

import re

from neuromorphic.errors import RefusedInput
from neuromorphic.errors import first_line as first_line_of

__all__ = ["RefusedInput", "first_line"]


def first_line(error: Exception) -> str:
    """The first line of a library's exception, as a refusal quotes it, or its type where it says nothing.

    Colours and other codes for terminals are left out.
    """
    return first_line_of(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", str(error)), type(error).__name__)
