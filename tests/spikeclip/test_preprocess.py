import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from spikeclip.errors import RefusedInput
from spikeclip.preprocess import ANTIALIASED, CLIP_SAMPLES, Preprocessing, square, stated_resize

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


def published(image, size):
    """The published recipe in torch's and Pillow's own words (val.py of Lvchangze/SpikeCLIP): float64 [S, S, 3].

    CLIP's image processor makes the shorter side 224 (the longer one rounded down) and takes the centre.
    """
    width, height = image.size
    if width <= height:
        large = image.resize((224, int(224 * height / width)), Image.Resampling.BICUBIC)
    else:
        large = image.resize((int(224 * width / height), 224), Image.Resampling.BICUBIC)
    top, left = (large.height - 224) // 2, (large.width - 224) // 2
    pixels = torch.from_numpy(np.array(large, np.float64)[top : top + 224, left : left + 224])
    sampled = F.interpolate(pixels.permute(2, 0, 1)[None], (size, size), mode="bilinear", align_corners=False)
    return sampled[0].permute(1, 2, 0).numpy()


def noise(width, height, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    "shape", [(32, 32), (96, 96), (37, 53), (225, 90), (224, 224), (300, 224), (7, 41), (57, 50), (50, 57)]
)
@pytest.mark.parametrize("size", [32, 224])
def test_clip_samples_are_the_published_recipe_s_picture_to_the_level(shape, size):
    image = noise(*shape)
    np.testing.assert_array_equal(square(image, size, CLIP_SAMPLES), published(image, size))


@pytest.mark.parametrize("size", [1, 20, 28, 33, 112, 300])
def test_samples_between_pixels_are_rounded_to_a_level(size):
    for shape in ((size, size), (61, 131), (150, 77)):
        image = noise(*shape)
        assert (
            np.abs(square(image, size, CLIP_SAMPLES) - published(image, size)).max() <= 0.5 + 1e-9
        )  # halves, computed in another order


def test_an_image_of_32_pixels_is_itself_in_both_ways():
    image = noise(32, 32)
    for resize in (CLIP_SAMPLES, ANTIALIASED):
        np.testing.assert_array_equal(square(image, 32, resize), np.asarray(image))


def test_smooth_squares_and_samples_differ_where_images_are_larger():
    image = noise(96, 96)
    assert np.abs(square(image, 32, CLIP_SAMPLES).astype(int) - square(image, 32, ANTIALIASED)).mean() > 20


def test_an_image_that_is_a_line_is_refused_before_it_is_enlarged():
    with pytest.raises(RefusedInput, match="40000 x 3 pixels; expected at most 1024 times as long as wide"):
        square(Image.new("RGB", (40_000, 3)), 32, CLIP_SAMPLES)
    assert square(Image.new("RGB", (40_000, 3)), 32, ANTIALIASED).shape == (32, 32, 3)


def test_settings_that_do_not_say_how_to_resize_are_antialiased():
    old = {"image_size": 8, "mean": [1], "std": [2]}
    assert Preprocessing.from_dict(old).resize == stated_resize(old, "m") == stated_resize(None, "m") == "antialiased"
    assert Preprocessing(8, (1.0,), (2.0,)).to_dict() == old  # so that unfinished runs and older files go on
    new = Preprocessing(8, (1.0,), (2.0,), "clip-samples").to_dict()
    assert Preprocessing.from_dict(new).resize == stated_resize(new, "m") == "clip-samples"
    for wrong in ("nearest", None, ["antialiased"], 1):
        with pytest.raises(
            RefusedInput, match=r"m: its images are resized as .*; expected antialiased or clip-samples"
        ):
            stated_resize({"resize": wrong}, "m")
