"""The page of a run without a browser: its data are the run's, and nothing in it comes from elsewhere."""

import base64
import hashlib
import json
import re

import numpy as np
import pytest

from neuromorphic.runs.content import SAMPLED, nodes, raster
from neuromorphic.runs.page import html
from tests.neuromorphic.runs.runs import a_run

NAME = "<script>alert(1)<script>\"'&{{{{ 7*7 }}}}{}"
WORDS = "</script><script>alert(1)</script>\"'&\x00{{{{ 7*7 }}}}{}"
RUNS = {
    "usual": {},
    "no picture": {"images": 3, "pictures": None},
    "one image": {"images": 1},
    "many steps": {"steps": 40},
    "no reference": {"comparisons": {}},
    "no classes": {"described": []},
    "nothing placed": {"placement": None},
    "hostile names": {"name": NAME, "words": WORDS},
}


def shown(settings):
    settings = dict(settings)
    more = {"images": None} if "pictures" in settings and settings.pop("pictures") is None else {}
    number = settings.pop("images", 3)
    run = a_run(images=number, **settings)
    return run if not more else type(run)(**{**vars(run), **more})


@pytest.mark.parametrize("kind", RUNS)
def test_page_is_complete_and_needs_nothing_else(kind):
    page = html(shown(RUNS[kind]))
    text = re.sub(r'<script type="application/json".*?</script>', "", page, flags=re.S)
    assert not re.search(
        r"https?:|<iframe|<object|@import|url\(|\son\w+=", text.replace("http://www.w3.org/2000/svg", "")
    )
    assert all(address.startswith(("data:", "#")) for address in re.findall(r'(?:src|href)="([^"]*)', page))
    ids = re.findall(r'\sid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]*)"', page)) <= set(ids)
    assert page.count("<script") == 2
    assert "\x00" not in page


def test_the_policy_allows_this_script_and_no_other():
    page = html(a_run())
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1].replace("&#39;", "'")
    assert policy.startswith("default-src 'none'; ")
    assert f"script-src 'sha256-{digest}'" in policy
    assert "innerHTML" not in script


def embedded(run):
    (text,) = re.findall(r'<script type="application/json" id="run">(.*?)</script>', html(run), re.S)
    return json.loads(text)


def test_hostile_names_come_back_from_the_data_as_they_are():
    run = a_run(name=NAME, words=WORDS)
    assert {node["name"] for node in embedded(run)["nodes"]} == {node.name for node in run.found.nodes}


def test_every_node_says_what_is_known_of_it():
    run = a_run()
    found = {node["name"]: node for node in nodes(run, run.placed())}
    assert list(found) == [node.name for node in run.found.nodes]
    conv, lif = found["block.0.conv"], found["block.1.lif"]
    assert (conv["input_shape"], conv["shape"], conv["latency"]) == ([2, 5, 4], [3, 5, 4], 1)
    assert conv["weights"]["zeros"] == 18
    assert sum(conv["weights"]["counts"]) == 3 * 2 * 9 - 18
    assert conv["weights"]["low"] == -conv["weights"]["high"]
    spikes = run.first.spikes["block.1.lif"].unpack()
    assert lif["rates"] == pytest.approx(spikes.mean((0, 2, 3, 4)).tolist())
    assert {source for source, _ in lif["sources"]} == {"block.1.conv", "block.short"}
    assert set(found["block.0.lif"]["readers"]) == {"block.1.conv", "block.short"}
    assert lif["agreement"] == {"PyTorch": [3 * 4 * 60, 0], "floats": [3 * 4 * 60, 1]}
    assert sum(node["cores"] or 0 for node in found.values()) == len(run.placement.cores)
    assert all(node["rates"] is None for name, node in found.items() if not name.endswith("lif"))


def test_the_raster_holds_the_spikes_of_the_neurons_that_it_names():
    run = a_run()
    found = raster(run, run.comparisons["floats"].first_mismatch)
    columns = sum(len(population["neurons"]) for population in found["populations"])
    packed = np.frombuffer(base64.b64decode(found["bits"]), np.uint8)
    bits = np.unpackbits(packed, count=found["images"] * found["steps"] * columns)
    bits = bits.reshape(found["images"], found["steps"], columns).astype(bool)
    place = 0
    for population in found["populations"]:
        spikes = run.first.spikes[population["name"]].unpack().reshape(3, 4, -1)
        number = len(population["neurons"])
        assert number <= SAMPLED + 1
        np.testing.assert_array_equal(bits[..., place : place + number], spikes[..., population["neurons"]])
        place += number
    assert 37 in found["populations"][-1]["neurons"]


def test_where_the_traces_part_first_is_said_and_marked():
    run = a_run()
    page = html(run)
    assert "Every spike as in PyTorch: 1,440 compared, none differs; 3 of 3 predictions agree." in page
    assert "1 of 1,440 spikes" in page
    first = embedded(run)["first"]
    assert first == {"image": 1, "step": 2, "node": "block.1.lif", "flat": 37}
    # One spike in 720 is no 100.00 %.
    assert "99.86 %" in page


def test_a_run_without_a_reference_says_so():
    page = html(a_run(comparisons={}))
    assert "Compared with nothing" in page
    assert embedded(a_run(comparisons={}))["first"] is None
