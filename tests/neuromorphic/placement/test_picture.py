"""The picture of a placement: well-formed, a square per core in both panels, nothing to run or to load."""

from xml.etree import ElementTree

import nir
import numpy as np
import pytest

from neuromorphic.execution.reference import run
from neuromorphic.placement import Limits, picture, place
from neuromorphic.reading.build import from_nir
from tests.neuromorphic.graphs import lif, metadata, small_net

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def placement():
    return place(from_nir(small_net()), Limits(neurons=72, cores_per_chip=2))


def squares(svg):
    """(y, fill, words) of every core."""
    found = []
    for square in ElementTree.fromstring(svg).iter(f"{SVG}rect"):
        words = square.find(f"{SVG}title")
        if words is not None:
            found.append((float(square.get("y")), square.get("fill"), words.text))
    return found


def test_every_core_is_drawn_twice(placement):
    words = [found[2].partition(":")[0] for found in squares(picture(placement))]
    assert sorted(words) == sorted(2 * [f"core {i}" for i in range(6)])
    assert placement.chips == 3


def test_a_core_says_what_it_holds(placement):
    (_, _, words), _ = (found for found in squares(picture(placement)) if found[2].startswith("core 1:"))
    assert "lif, channels 0-3, rows 0-5, columns 2-3; 48 neurons" in words
    assert f"{placement.full_rate.operations[1]} operations per step" in words


def test_layers_share_a_colour_and_the_busiest_core_has_the_strongest(placement):
    found = squares(picture(placement))
    half = len(found) // 2
    above, below = ({words.split()[1]: fill for _, fill, words in part} for part in (found[:half], found[half:]))
    assert max(y for y, _, _ in found[:half]) < min(y for y, _, _ in found[half:])
    assert above["0:"] == above["2:"] != above["3:"]
    busiest = placement.full_rate.operations.argmax()
    assert below[f"{busiest}:"] == "#b22234"


def test_free_cores_are_drawn_and_silence_is_no_division_by_zero():
    graph = from_nir(small_net())
    silent = place(graph, trace=run(graph, np.zeros((1, 2, 6, 6), np.float32)))
    found = squares(picture(silent))
    assert len(found) == 2 * 122
    assert sum(words.endswith("free") for _, _, words in found) == 2 * 119


def test_names_are_text_and_nothing_is_loaded():
    shape = (2,)
    nodes = {"input": nir.Input(np.array(shape)), "<a&b>": lif(shape), "output": nir.Output(np.array(shape))}
    edges = [("input", "<a&b>"), ("<a&b>", "output")]
    svg = picture(place(from_nir(nir.NIRGraph(nodes, edges, metadata=metadata(), type_check=False))))
    assert any("<a&b>" in words for _, _, words in squares(svg))
    root = ElementTree.fromstring(svg)
    kinds = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert kinds == {"svg", "style", "rect", "title", "text"}
    assert not any("href" in key for element in root.iter() for key in element.attrib)


def test_cores_have_the_number_of_their_population_and_the_legend_its_name(placement):
    texts = [text.text for text in ElementTree.fromstring(picture(placement)).iter(f"{SVG}text")]
    names = [entry.population.name for entry in placement.placed]
    for number, name in enumerate(names, 1):
        cores = sum(core.population == name for core in placement.cores)
        assert f"{name}, {cores} core{'s' * (cores != 1)}" in texts
        assert any(text == str(number) or text.startswith(f"{number} ") for text in texts)
