import json

import numpy as np
import pytest

from spikeclip.data import ImageSet
from spikeclip.errors import RefusedInput
from spikeclip.predictions import Truth, describe_images, find_truth


def images(labels, names=()):
    n = 4 if labels is None else len(labels)
    files = tuple(f"f/{i}.png" for i in range(n))
    pixels = np.zeros((n, 2, 2, 3), np.uint8)
    return ImageSet(pixels, files, None if labels is None else np.array(labels), tuple(names), "folder")


def test_labels_become_the_model_s_classes_by_name():
    found = find_truth(images([0, 2, 1, 2], ("dog", "Sea-Horse", "cat")), ("cat", "dog", "sea horse"), 3, "m.nir")
    assert found.classes.tolist() == [1, 0, 2, 0]
    assert found.assumed == ()
    assert found.accuracy(np.array([1, 0, 2, 1])) == 0.75


def test_a_class_without_images_need_not_be_the_model_s():
    found = find_truth(images([2, 2], ("monkey", "car", "ship")), ("ship", "truck"), 2, "m.nir")
    assert found.classes.tolist() == [0, 0]


def test_a_class_that_the_model_does_not_have_is_refused():
    with pytest.raises(RefusedInput, match=r"images 'folder': m\.nir has no class 'car' \(did you mean 'cat'\?\)"):
        find_truth(images([0, 1], ("ship", "car")), ("cat", "ship"), 2, "m.nir")


@pytest.mark.parametrize(
    ("of_images", "of_model", "sentence"),
    [
        ((), ("cat", "dog"), "(0 is cat, 1 is dog): the images come without names of classes"),
        (("dog", "cat"), (), "(0 is dog, 1 is cat): m.nir has no names of classes"),
        ((), (), "(0, 1, ...): the images come without names of classes"),
    ],
)
def test_without_names_numbers_are_taken_and_it_is_said(of_images, of_model, sentence):
    found = find_truth(images([1, 0], of_images), of_model, 2, "m.nir")
    assert found.classes.tolist() == [1, 0]
    assert found.assumed == (f"labels are taken to be the model's class numbers {sentence}",)


@pytest.mark.parametrize("of_model", [(), ("a", "b", "c")])
def test_a_number_beyond_the_classes_is_refused(of_model):
    with pytest.raises(RefusedInput, match=r"label 3 \(image f/1\.png\); m\.nir has 3 classes, expected 0 to 2"):
        find_truth(images([0, 3]), of_model, 3, "m.nir")


def test_images_without_labels_have_no_truth():
    found = find_truth(images(None), ("a",), 1, "m.nir")
    assert found == Truth(None, ())
    assert found.accuracy(np.zeros(4, int)) is None


def test_the_same_names_in_the_same_order_need_not_differ():
    names = ("crane", "boat", "crane")
    assert find_truth(images([2, 0], names), names, 3, "m.nir").classes.tolist() == [2, 0]


def test_each_image_has_its_file_its_label_and_its_best_five():
    names = tuple("abcdefg")
    scores = np.array([[0, 1, 2, 3, 4, 5, 6], [2, 2, 2, 9, 1, 0, 2]], np.float64)
    found = describe_images(["x/1.png", "y/1.png"], scores, names, Truth(np.array([6, 0])))
    assert found[0] == {
        "file": "x/1.png",
        "label": "g",
        "top5": [{"name": n, "score": s} for n, s in zip("gfedc", [6.0, 5.0, 4.0, 3.0, 2.0], strict=True)],
    }
    assert [each["name"] for each in found[1]["top5"]] == list("dabcg")  # of equal scores the earlier class
    assert json.loads(json.dumps(found)) == found
    many = np.zeros((1, 300))
    many[0, 200] = 1
    (one,) = describe_images(["a"], many, (), Truth(None))
    assert [each["name"] for each in one["top5"]] == [200, 0, 1, 2, 3]


def test_without_names_classes_are_numbers_and_few_classes_are_all_listed():
    (found,) = describe_images(["a.png"], np.array([[1, 3, 2]], np.float32), (), Truth(None))
    assert found == {
        "file": "a.png",
        "label": None,
        "top5": [{"name": 1, "score": 3.0}, {"name": 2, "score": 2.0}, {"name": 0, "score": 1.0}],
    }
