"""Batches of an epoch: which images, how they are shifted and mirrored, and what the encoder reads of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from spikeclip.batches import augmented, batches, cut_out, draw, normalised
from spikeclip.data import ImageSet
from spikeclip.preprocess import Preprocessing
from spikeclip.recipe import Recipe

RECIPE = Recipe(batch_size=8)


def images(count=24, size=16):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, size, size, 3)).astype(np.uint8)
    return ImageSet(pixels, tuple(str(i) for i in range(count)), np.arange(count) % 2, ("a", "b"), "made")


def epoch(number, recipe=RECIPE, held=None):
    return [*batches(held or images(), Preprocessing(16), recipe, number)]


def versions(image):
    """All that augmentation can make of an image of 32 pixels: bytes to (down, right, mirrored)."""
    padded = np.pad(image, ((4, 4), (4, 4), (0, 0)), mode="reflect")
    return {
        padded[4 + down : 36 + down, 4 + right : 36 + right][:, :: -1 if mirrored else 1].tobytes(): (
            down,
            right,
            mirrored,
        )
        for down in range(-4, 5)
        for right in range(-4, 5)
        for mirrored in (False, True)
    }


def test_augmentation_shifts_and_mirrors_each_image_as_drawn():
    held = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    which = np.random.default_rng(2).integers(0, 3, 400)
    draws = draw(400, 32, np.random.default_rng(3))
    made = augmented(torch.from_numpy(held), torch.from_numpy(which), draws).numpy()
    possible = [versions(image) for image in held]
    drawn = [*zip(draws.down.tolist(), draws.right.tolist(), draws.mirrored.tolist(), strict=True)]
    assert [possible[i][image.tobytes()] for i, image in zip(which, made, strict=True)] == drawn
    assert len(set(drawn)) > 140  # of 162


def test_an_epoch_has_every_image_once_with_its_label_in_an_order_of_its_own():
    first, second = epoch(0), epoch(1)
    order = np.concatenate([batch.indices for batch in first])
    assert sorted(order) == list(range(24))
    assert [label for batch in first for label in batch.labels.tolist()] == (order % 2).tolist()
    assert order.tolist() != np.concatenate([batch.indices for batch in second]).tolist()
    again = epoch(0)
    assert all(torch.equal(a.inputs, b.inputs) for a, b in zip(first, again, strict=True))


def test_images_without_labels_make_batches_without_labels():
    assert all(batch.labels is None for batch in epoch(0, held=replace(images(), labels=None)))


@pytest.mark.parametrize("mean", [(128.0, 128.0, 128.0), (125.3, 123.0, 113.9)])
def test_the_encoder_reads_what_the_preprocessing_makes_to_the_bit(mean):
    preprocessing = Preprocessing(16, mean, (63.0, 62.1, 66.7))
    pixels = images().images
    found = normalised(torch.from_numpy(pixels), preprocessing)
    assert np.array_equal(found.numpy(), preprocessing(pixels))
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert found.dtype == torch.float32


def mirrored(number, recipe):
    """Whether each of the images is mirrored in that epoch; their shifts are undone by looking for them."""
    held = images(size=32)
    recipe = replace(recipe, batch_size=24)
    (batch,) = batches(held, Preprocessing(32), recipe, number)
    found = {
        i: versions(held.images[i])[image.numpy().tobytes()][2]
        for i, image in zip(batch.indices, batch.images, strict=True)
    }
    return np.array([found[i] for i in range(24)])


def test_alternating_flips_show_every_image_both_ways_in_two_epochs():
    alternating = replace(RECIPE, flips="alternating")
    first, second, third = (mirrored(number, alternating) for number in range(3))
    assert (first ^ second).all()
    assert (first == third).all()
    assert 0 < first.sum() < 24
    assert (first != mirrored(0, replace(alternating, seed=1))).any()
    random = [mirrored(number, RECIPE) for number in range(2)]
    assert 0 < (random[0] ^ random[1]).sum() < 24


@pytest.mark.parametrize("side", [1, 4, 5, 40])
def test_a_cut_out_square_has_the_mean_colour_and_ends_at_the_edges(side):
    held = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3)).astype(np.uint8)
    centres = np.array([[0, 15, 7, 3], [0, 15, 8, 12]])
    preprocessing = Preprocessing(16, mean=(10.4, 20.6, 30.0), std=(1.0, 1.0, 1.0))
    expected = held.copy()
    for image, row, column in zip(expected, *centres, strict=True):
        for i in range(16):
            for j in range(16):
                if 0 <= i - (row - side // 2) < side and 0 <= j - (column - side // 2) < side:
                    image[i, j] = (10, 21, 30)
    assert np.array_equal(cut_out(torch.from_numpy(held), centres, side, preprocessing), expected)


def test_squares_are_cut_where_the_recipe_says_and_change_nothing_else():
    whole = epoch(0)
    cut = epoch(0, replace(RECIPE, cutout=4))
    for before, after in zip(whole[:1], cut[:1], strict=True):
        assert np.array_equal(before.indices, after.indices)
        differs = (before.images != after.images).any(-1)
        assert differs.any((1, 2)).all()
        assert differs.sum((1, 2)).max() <= 16
