"""How many examples hypothesis draws of what is expensive: few in `make test`, ten times as many in `test-slow`."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

FEW, MANY = "any machine", "many"
"""The profiles; `--hypothesis-profile=many` asks for the second."""


def register() -> None:
    """Register the profiles.  In neither does a test decide by the clock what a busy machine can change."""
    for name, examples in ((FEW, 100), (MANY, 1000)):
        settings.register_profile(
            name, max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        )


def drawn(count: int, **more: Any) -> Callable[[Any], Any]:
    """Mark a test of which `count` examples are drawn, ten times as many in the profile `many`; `more` are settings."""
    examples = settings(max_examples=count * settings.default.max_examples // 100, **more)
    return lambda test: pytest.mark.drawn(examples(test))
