"""Metadata of a graph: the numbers that pixels are normalised by."""

import numpy as np
import pytest

from neuromorphic.errors import RefusedInput
from neuromorphic.ir.metadata import GraphMetadata, normalisation


def test_mean_and_deviation_are_the_files():
    metadata = GraphMetadata(preprocessing={"mean": [1, 2.5], "std": [4, 8]})
    mean, std = normalisation(metadata, "m.nir")
    assert (mean.tolist(), std.tolist()) == ([1, 2.5], [4, 8])
    assert mean.dtype == std.dtype == np.float64


@pytest.mark.parametrize("settings", [None, {}, {"mean": [1.0]}, {"mean": [1.0], "std": "wide"}])
def test_preprocessing_without_numbers_is_refused(settings):
    with pytest.raises(RefusedInput, match=r"m\.nir: preprocessing .* is not understood"):
        normalisation(GraphMetadata(preprocessing=settings), "m.nir")
