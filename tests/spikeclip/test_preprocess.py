import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikeclip.errors import RefusedInput
from spikeclip.preprocess import Preprocessing

PIXELS = np.arange(256, dtype=np.uint8)


def test_default_is_exact_in_float32():
    images = np.broadcast_to(PIXELS.reshape(16, 16, 1), (1, 16, 16, 3))
    x = Preprocessing(image_size=16)(images)
    np.testing.assert_array_equal(x[0, 0].ravel() * 64, np.arange(-128, 128))  # multiples of 2^-6 in [-2, 2)
    assert x.dtype == np.float32


@given(
    st.lists(st.floats(0, 255), min_size=3, max_size=3),
    st.lists(st.floats(1, 255), min_size=3, max_size=3),
    st.integers(0, 2**32 - 1),
)
def test_equals_the_formula_in_double(mean, std, seed):
    images = np.random.default_rng(seed).integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    x = Preprocessing(4, tuple(mean), tuple(std))(images)
    assert x.shape == (2, 3, 4, 4)
    for image, channel, row, column in np.ndindex(x.shape):
        expected = (float(images[image, row, column, channel]) - mean[channel]) / std[channel]
        # Two roundings of values up to 255, divided by std: the mean's and the difference's.
        assert abs(x[image, channel, row, column] - expected) <= 2**-15 / std[channel] + abs(expected) * 2**-22


def test_round_trip_and_what_it_refuses():
    made = Preprocessing(8, (1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    assert Preprocessing.from_dict(made.to_dict()) == made
    for wrong in ({}, {"image_size": "large", "mean": [1], "std": [1]}, {"image_size": 8, "mean": 1, "std": 1}):
        with pytest.raises(RefusedInput, match="preprocessing"):
            Preprocessing.from_dict(wrong)


@pytest.mark.parametrize(
    ("size", "mean", "std"),
    [
        (8, (0.0,), (1.0, 1.0)),
        (8, (0.0,), (0.0,)),
        (8, (np.nan,), (1.0,)),
        (8, (0.0,), (np.inf,)),
        (0, (0.0,), (1.0,)),
        (8, (), ()),
    ],
)
def test_values_that_are_no_normalisation_are_refused(size, mean, std):
    with pytest.raises(RefusedInput, match="preprocessing has"):
        Preprocessing(size, mean, std)


def test_images_of_another_size_are_refused():
    with pytest.raises(RefusedInput, match=r"\(4, 8, 3\)"):
        Preprocessing(8)(np.zeros((1, 4, 8, 3), np.uint8))
