"""The report without a browser: what stands in it, and that its figures show the document's figures."""

import json
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import escape

from energy.document import Comparison
from energy.report import figures, html
from energy.report.bars import Bar, bar_panels
from energy.report.break_even import cost
from energy.report.figures import draw
from energy.report.scales import Scale, count_text, decades, energy_text, ratio_text
from neuromorphic.errors import RefusedInput
from neuromorphic.pages.svg import WIDTH, element, shortened
from tests.energy.documents import document

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</title><script>alert({})</script>\"'&\x00\x1b {{{{ 7*7 }}}}"
SHAPES = {
    "usual": {},
    "one layer": {"layers": 1},
    "a hundred layers": {"layers": 100},
    "no twin": {"twin": False},
    "one image": {"images": 1},
    "one step": {"steps": 1},
    "many steps": {"steps": 64},
    "no device": {"devices": (), "chip": False},
    "a chip only": {"devices": ()},
    "hostile names": {"name": HOSTILE},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_figure_is_well_formed_and_inside_its_frame(shape):
    for name, text in figures(document(**SHAPES[shape])).items():
        assert re.fullmatch(r"[A-Za-z0-9._-]+", name)
        root = ElementTree.fromstring(text)
        _, _, width, height = (float(value) for value in root.get("viewBox").split())
        assert width >= WIDTH
        assert height > 0
        assert root.find(f"{SVG}desc").text
        for rect in root.iter(f"{SVG}rect"):
            x, wide, tall = (float(rect.get(key)) for key in ("x", "width", "height"))
            assert x >= 0
            assert wide >= 0
            assert tall > 0
            assert x + wide <= WIDTH + 1e-3
        assert "nan" not in text


@pytest.mark.parametrize("shape", SHAPES)
def test_page_is_complete_and_needs_nothing_else(shape):
    data = document(**SHAPES[shape])
    page = html(data)
    assert not re.search(r"https?:|<script|<iframe|<object|@import|url\(|\bon\w+=", page.replace("&#34;", ""))
    assert re.findall(r"(?:src|href)=\"([^#\"]*)", page) == ["data:,"] + [""] * page.count('href="#')
    ids = re.findall(r' id="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    for target in re.findall(r'href="#([^"]*)"', page) + " ".join(re.findall(r'labelledby="([^"]*)"', page)).split():
        assert target in ids
    assert page.count("<svg") == page.count("</svg>") == page.count('role="img"')


def unbroken(page):
    """With names in one piece, which a narrow column may break."""
    return page.replace("<wbr>", "")


def test_everything_that_must_be_said_stands_in_the_page():
    data = document()
    page = unbroken(html(data))
    for report in data.devices.values():
        assert report.device.title in page
        for account in report.accounts.values():
            assert escape(account.title) in page
            for one in account.comparisons:
                assert f"<b>{ratio_text(one.ratio.mean)}</b>" in page
                assert all(escape(reason) in page for reason in one.reasons)
        for price in report.device.operations.values():
            assert price.source in page
    for row in data.not_counted:
        assert row.what in page
        assert row.why in page
    for words in (*data.notes, data.provenance.model_sha256, data.provenance.data.sha256, data.provenance.data.spec):
        assert words in page
    for name, layer in data.snn.layers.items():
        assert name in page
        assert f"{layer.sops / data.images:,.0f}" in page


def widths(text):
    """Of everything that is as wide as a share of its place, in percent."""
    return [float(width) for width in re.findall(r"(?:width|left|right):([-\d.]+)%", text)]


def test_bars_are_shares_of_the_longest_on_both_sides():
    page = unbroken(html(document(twin=False, devices=(), chip=False)))
    (chart,) = re.findall(r'<table class="full chart layers.*?</table>', page, re.S)
    rows = re.findall(r'<tr><th scope="row" class="name">(.*?)</th>.*?class="bar" style="width:([\d.]+)%', chart, re.S)
    # Node 2 multiplies nothing but coincides 20 times; node 0 takes 500 MACs, node 1 100 SOPs, a population 32 updates.
    shares = {name: float(width) for name, width in rows}
    assert shares["layer.0"] == max(shares.values()) == 100
    assert shares["layer.1"] < 100


@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_is_wider_than_its_place(shape):
    page = html(document(**SHAPES[shape]))
    assert all(0 <= width <= 100 for width in widths(page))
    for bar in re.findall(r'<span class="bar".*?</span>', page):
        parts = [float(width) for width in re.findall(r'<i [^>]*style="width:([\d.]+)%', bar)]
        assert not parts or sum(parts) == pytest.approx(100, abs=0.01)


def test_accuracy_of_both_sides_stands_beside_the_verdicts():
    page = html(document())
    facts = page[page.index('class="facts"') : page.index("verdicts", page.index('class="facts"'))]
    assert "75.00 %</b>accuracy of the SNN" in facts
    assert "unknown</b>accuracy of the ANN" in facts


def test_verdicts_are_counted_in_one_sentence():
    data = document()
    every = [
        one for report in data.devices.values() for account in report.accounts.values() for one in account.comparisons
    ]
    cheaper = sum(one.verdict == "cheaper" for one in every)
    assert f"Cheaper in {cheaper} of {len(every)} comparisons" in html(data)


def test_no_names_run_or_close_what_they_stand_in():
    page = html(document(name=HOSTILE))
    assert "<script" not in page
    assert "\x00" not in page
    assert "{{ 7*7 }}" in page
    assert "&lt;script&gt;" in page


def test_without_a_twin_there_is_no_verdict():
    page = html(document(twin=False))
    assert "No verdict." in page
    assert "ratios" not in figures(document(twin=False))


def test_a_document_read_from_json_gives_the_same_page():
    data = document()
    read = json.loads(data.model_dump_json())
    assert html(read) == html(data)
    assert figures(read) == figures(data)


def test_what_is_no_document_is_refused():
    read = json.loads(document().model_dump_json())
    read["snn"]["sops"] = "many"
    with pytest.raises(RefusedInput, match=r"snn\.sops is 'many'; expected"):
        html(read)


def test_bars_of_all_panels_have_one_scale():
    figure = draw(document(layers=70))["layers-one-no-reuse"]
    account = document(layers=70).devices["one"].accounts["no_reuse"]
    lengths = {}
    for panel in figure.panels:
        for mark in panel.marks:
            group = ElementTree.fromstring(mark)
            if group.tag == "g":
                name = group.find("title").text.split(":")[0]
                lengths[name] = lengths.get(name, 0) + float(group.find("rect").get("width"))
    energies = {name: sum(parts.values()) for name, parts in account.layers.items()}
    energies |= {name: sum(parts.values()) for name, parts in account.comparisons[0].ann_layers.items()}
    assert lengths.keys() == energies.keys()
    # The twin stands there twice, priced on two devices, and both are as long.
    assert {name: round(length * (1 if "twin" not in name else 0.5), 2) for name, length in lengths.items()} == {
        name: round(WIDTH * energy / max(energies.values()), 2) for name, energy in energies.items()
    }


def test_bars_are_split_into_panels_and_lose_none():
    bars = [Bar(f"layer {index}", {"macs": index + 1.0}) for index in range(65)]
    panels = bar_panels("title", bars, 65.0, count_text)
    assert [panel.title for panel in panels] == [f"title ({number} of 3)" for number in (1, 2, 3)]
    names = [re.findall(r">(layer \d+)<", "".join(panel.marks)) for panel in panels]
    assert [name for own in names for name in own] == [bar.name for bar in bars]
    assert [len(own) for own in names] == [21, 22, 22]


def test_bars_of_nothing_begin_and_end_at_zero():
    (panel,) = bar_panels("title", [Bar("silent", {"macs": 0.0})], 0.0, count_text)
    assert "silent" in "".join(panel.marks)
    assert "nan" not in "".join(panel.marks)


def test_heat_map_shows_every_rate_and_frames_silent_steps():
    data = document(layers=9)
    cells = [ElementTree.fromstring(mark) for panel in draw(data)["rates"].panels for mark in panel.marks]
    shown = {cell.find("title").text: cell.find("rect") for cell in cells if cell.find("title") is not None}
    for name, population in data.snn.populations.items():
        for step, spikes in enumerate(population.spikes_per_step):
            rate = spikes / (population.neurons * data.images)
            text = "0" if rate == 0 else f"{rate:#.3g}"
            cell = shown.pop(f"{name}, step {step + 1}: {text}")
            assert (cell.get("class") == "silent") == (spikes == 0)
    assert not shown


@given(fixed=st.floats(0, 100), proportional=st.floats(0.1, 100), rate=st.floats(0.01, 1), twin=st.floats(101, 1e4))
def test_curves_pass_through_this_run_and_through_break_even(fixed, proportional, rate, twin):
    crossing = (twin - fixed) * rate / proportional
    one = document().devices["one"].accounts["papers"].comparisons[0].model_copy(
        update={"fixed": fixed, "proportional": proportional, "rate": rate, "ann_energy": twin}
    )  # fmt: skip
    assert cost(one, rate) == pytest.approx((fixed + proportional) / twin)
    assert cost(one, crossing) == pytest.approx(1)


@pytest.mark.parametrize(
    "change",
    [
        {"rate": None, "proportional": 0.0},
        {"rate": 0.0, "proportional": 0.0},
        {"rate": 1e-7, "break_even_rate": 1e-9},
        {"fixed": 0.0},
        {"fixed": 0.0, "proportional": 0.0},
        {"ann_energy": 0.0},
    ],
)
def test_extreme_comparisons_are_drawn_or_left_out(change):
    data = document(devices=("one",))
    account = data.devices["one"].accounts["papers"]
    one = Comparison.model_validate(account.comparisons[0].model_dump() | change)
    accounts = {"papers": account.model_copy(update={"comparisons": [one]})}
    devices = {"one": data.devices["one"].model_copy(update={"accounts": accounts})}
    changed = data.model_copy(update={"devices": devices})
    assert ratio_text(one.ratio.mean) in html(changed)
    assert all("nan" not in text and "inf" not in text for text in figures(changed).values())


@given(st.floats(1e-3, 1e15))
def test_energies_are_written_to_three_digits(picojoules):
    number, unit = energy_text(picojoules).split()
    factor = {"pJ": 1, "nJ": 1e3, "µJ": 1e6, "mJ": 1e9, "J": 1e12}[unit]
    assert float(number.replace(",", "")) * factor == pytest.approx(picojoules, rel=0.006, abs=0.006)
    assert len(number.replace(".", "")) <= 3 or picojoules > 0.9e15 or picojoules < 10


@given(st.floats(1e-6, 1e6), st.floats(1.01, 1e9), st.booleans())
def test_ticks_lie_on_the_axis_and_are_few(low, factor, logarithmic):
    low, high = decades([low, low * factor]) if logarithmic else (0.0, low)
    scale = Scale(low, high, 0, WIDTH, logarithmic)
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 8
    assert all(-1e-6 <= scale(tick) <= WIDTH + 1e-6 for tick in ticks)


@given(st.text(), st.integers(4, 40))
def test_long_names_keep_both_ends(name, room):
    shown = shortened(name, room)
    assert len(shown) <= max(room, 3)
    assert shown == name if len(name) <= room else (shown[0], shown[-1]) == (name[0], name[-1])


@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
def test_any_text_is_valid_xml(child, value):
    parsed = ElementTree.fromstring(element("text", child, id=value).encode())
    cleaned = re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]", "\ufffd", child)
    assert (parsed.text or "") == cleaned.replace("\r\n", "\n").replace("\r", "\n")
