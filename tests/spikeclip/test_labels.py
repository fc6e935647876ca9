import numpy as np
import pytest

from spikeclip.errors import RefusedInput
from spikeclip.labels import LabelSet, load_labels

VECTORS = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
NAMES = ["cat", "dog", "ship"]


def test_the_only_set_of_a_file_needs_no_key(tmp_path):
    np.savez(tmp_path / "a.npz", pets=VECTORS, pets__names=NAMES)
    found = load_labels(str(tmp_path / "a.npz"))
    assert found.names == tuple(NAMES)
    np.testing.assert_array_equal(found.vectors, VECTORS)
    assert load_labels(f"{tmp_path / 'a.npz'}:pets").names == found.names


def test_one_of_two_sets_must_be_named(tmp_path):
    np.savez(tmp_path / "a.npz", a=VECTORS, a__names=NAMES, b=VECTORS[:2], b__names=NAMES[:2])
    assert load_labels(f"{tmp_path / 'a.npz'}:b").names == ("cat", "dog")
    with pytest.raises(RefusedInput, match="label set '' not found; it has a, b"):
        load_labels(str(tmp_path / "a.npz"))
    with pytest.raises(RefusedInput, match="label set 'c' not found; it has a, b"):
        load_labels(f"{tmp_path / 'a.npz'}:c")


@pytest.mark.parametrize(
    ("vectors", "names"),
    [
        (VECTORS[:2], NAMES),
        (VECTORS[0], NAMES),
        (np.where(VECTORS > 1, np.nan, VECTORS), NAMES),
        (1e300 * VECTORS.astype(np.float64), NAMES),
        (VECTORS.astype(int), NAMES),
        (np.array([["a", "b"]] * 3), NAMES),
        (np.array([[{}], [{}], [{}]], dtype=object), NAMES),
        (VECTORS, ["cat", "cat", "ship"]),
        (VECTORS[:1], NAMES[:1]),
        (np.where([[True], [True], [False]], VECTORS, 0), NAMES),
        (VECTORS[[0, 1, 0]], NAMES),
    ],
)
def test_vectors_that_make_no_directions_are_refused(tmp_path, vectors, names):
    np.savez(tmp_path / "a.npz", pets=vectors, pets__names=names)
    with pytest.raises(RefusedInput, match=r"a\.npz"):
        load_labels(str(tmp_path / "a.npz"))


def test_missing_or_broken_file_is_refused(tmp_path):
    with pytest.raises(RefusedInput, match="no such file"):
        load_labels(str(tmp_path / "b.npz:pets"))
    (tmp_path / "a.npz").write_bytes(b"PK")
    with pytest.raises(RefusedInput, match=r"not a readable \.npz file"):
        load_labels(str(tmp_path / "a.npz"))


def test_directions_are_unit_vectors_around_the_mean():
    directions = LabelSet(tuple(NAMES), VECTORS + 10).directions()
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, rtol=1e-6)
    unit = (VECTORS + 10) / np.sqrt(((VECTORS + 10) ** 2).sum(1))[:, None]
    for direction, own in zip(directions, unit, strict=True):
        centred = own - (unit[0] + unit[1] + unit[2]) / 3
        np.testing.assert_allclose(direction, centred / np.sqrt((centred**2).sum()), rtol=1e-4, atol=1e-6)


def test_reordering_moves_vectors_with_their_names():
    found = LabelSet(tuple(NAMES), VECTORS).ordered(("ship", "cat"))
    assert found.names == ("ship", "cat")
    np.testing.assert_array_equal(found.vectors, VECTORS[[2, 0]])
    with pytest.raises(RefusedInput, match="no class 'horse'; its 3 classes are cat, dog, ship"):
        LabelSet(tuple(NAMES), VECTORS).ordered(("horse",))
