import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikeclip.class_names import find_classes, normalised, read_names, same_class
from spikeclip.errors import RefusedInput


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("Maine_Coon", "maine coon"),
        ("hard-leaved pocket orchid", "Hard leaved_pocket  orchid"),
        (" air plane ", "AIR-PLANE"),
        ("café", "cafe\N{COMBINING ACUTE ACCENT}"),
        ("STRASSE", "straße"),
        ("\N{LATIN SMALL LIGATURE FI}sh", "fish"),
    ],
)
def test_case_hyphens_underscores_and_spaces_do_not_make_another_name(name, other):
    assert normalised(name) == normalised(other)
    assert same_class(name, ["x", other])


@pytest.mark.parametrize(
    ("name", "other"), [("car", "automobile"), ("air plane", "airplane"), ("cat", "cats"), ("", "x")]
)
def test_synonyms_plurals_and_joined_words_are_other_names(name, other):
    assert normalised(name) != normalised(other)


@given(st.lists(st.text("abc_- ", max_size=4), min_size=1, max_size=6, unique_by=normalised), st.randoms())
def test_every_name_is_found_where_it_is_whatever_its_spelling(names, random):
    order = random.sample(range(len(names)), len(names))
    asked = [names[i].upper().replace("_", " ") for i in order]
    assert find_classes(asked, names, "images", "model").tolist() == order


def test_the_exact_name_goes_before_another_spelling_of_it():
    names = ["cardigan", "crane", "Cardigan"]  # ImageNet has the jacket and the dog
    assert find_classes(["Cardigan", "cardigan"], names, "images", "model").tolist() == [2, 0]
    with pytest.raises(RefusedInput, match="images: class 'CARDIGAN' could be classes 0 and 2 of model"):
        find_classes(["CARDIGAN"], names, "images", "model")


def test_the_same_list_is_itself_even_with_a_name_twice():
    names = ["crane", "crane", "maillot"]
    assert find_classes(["Crane", "crane", "maillot"], names, "images", "model").tolist() == [0, 1, 2]
    with pytest.raises(RefusedInput, match="could be classes 0 and 1"):
        find_classes(["maillot", "crane"], names, "images", "model")


def test_names_that_are_not_there_are_all_named_with_the_closest():
    with pytest.raises(RefusedInput) as caught:
        find_classes(["aeroplane", "dog", "zebra"], ["airplane", "Dog", "ship"], "images 'x'", "m.nir")
    assert str(caught.value) == (
        "images 'x': m.nir has no classes 'aeroplane' (did you mean 'airplane'?), 'zebra'; its 3 classes are airplane, "
        "Dog, ship"
    )


def test_long_lists_are_cut():
    names = [f"class number {i}" for i in range(1000)]
    with pytest.raises(RefusedInput, match=r"and 988 more; its 1000 classes are class number 0, .*11, \.\.\.$"):
        find_classes([name.replace("number", "nr") for name in names], names, "images", "model")


def test_numbers_are_int64():
    assert find_classes(["b", "a"], ["a", "b"], "images", "model").dtype == np.int64


def test_names_are_the_lines_of_a_file_that_hold_something(tmp_path):
    (tmp_path / "names.txt").write_bytes("Kätzchen\r\n\n  red fox \n".encode())
    assert read_names(tmp_path / "names.txt") == ("Kätzchen", "red fox")
    (tmp_path / "names.txt").write_bytes("Kätzchen".encode("latin1"))
    with pytest.raises(RefusedInput, match=r"names\.txt: not a readable text file; expected one in UTF-8"):
        read_names(tmp_path / "names.txt")
