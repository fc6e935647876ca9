"""Damaged files are read as users read them: in a copy of the process first."""

from collections.abc import Iterator

import pytest

from neuromorphic.reading import read, rehearsal


@pytest.fixture(scope="module", autouse=True)
def with_rehearsal(without_rehearsal: None) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read, "rehearse", rehearsal.rehearse)
        yield
