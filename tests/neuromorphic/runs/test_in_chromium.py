"""The page of a run as a browser shows it: nodes that can be chosen, a schedule that plays, and nothing too wide."""

import time

import pytest

from neuromorphic.runs.page import html
from tests import chromium
from tests.neuromorphic.runs.runs import a_run

pytestmark = pytest.mark.skipif(chromium.PATH is None, reason="no Chromium here (Debian's package: chromium)")

OVERFLOWING = """[...document.querySelectorAll("body *")].filter(element =>
    element.checkVisibility() && !element.closest(".scroll, svg")
    && element.getBoundingClientRect().right > innerWidth + 1
).map(element => element.outerHTML.slice(0, 80))"""

INKED = """(id => {
    const canvas = document.getElementById(id);
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    return pixels.some(value => value > 0);
})"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    running = chromium.Chromium(tmp_path_factory.mktemp("profile"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "run.html"
    path.write_text(html(a_run()))
    return path.as_uri()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 820, 1440])
def test_page_fits_and_draws(browser, page, width, dark):
    browser.open(page, width, dark)
    assert [address for address in browser.requests() if not address.startswith("data:")] == [page]
    assert browser.complaints() == []
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    assert browser.evaluate(OVERFLOWING) == []
    assert browser.evaluate(f"{INKED}('gantt')")
    assert browser.evaluate(f"{INKED}('raster')")


def click(browser, name):
    browser.evaluate(
        f"""[...document.querySelectorAll("[data-node]")].find(node => node.dataset.node === "{name}")
        .dispatchEvent(new MouseEvent("click", {{bubbles: true}}))"""
    )


def test_a_chosen_node_is_described_and_its_paths_stay(browser, page):
    browser.open(page, 1440)
    click(browser, "block.short")
    said = browser.evaluate("document.getElementById('node').innerText")
    for words in ("block.short", "3 × 5 × 4 → 3 × 5 × 4", "latency", "3 weights"):
        assert words in said
    on = set(browser.evaluate("[...document.querySelectorAll('[data-node].on')].map(node => node.dataset.node)"))
    assert on == {"input", "block.0.conv", "block.0.lif", "block.short", "block.1.lif", "output"}
    edges = browser.evaluate(
        "[...document.querySelectorAll('[data-from].near')].map(edge => [edge.dataset.from, edge.dataset.to])"
    )
    assert sorted(edges) == [["block.0.lif", "block.short"], ["block.short", "block.1.lif"]]
    browser.evaluate("document.querySelector('#node button').click() ?? 0")
    assert browser.evaluate("document.querySelector('#node h3').textContent") == "block.0.lif"
    click(browser, "block.0.lif")
    assert browser.evaluate("document.querySelectorAll('.chosen, .near, .on').length") == 0


def test_nodes_are_reached_by_the_keyboard(browser, page):
    browser.open(page, 820)
    browser.evaluate("document.querySelector('[data-node]').focus() ?? 0")
    browser.call("Input.dispatchKeyEvent", type="keyDown", key="Enter", code="Enter")
    assert browser.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true"
    assert browser.evaluate("document.querySelector('#node h3').textContent") == "input"


def answering(browser, moment):
    browser.evaluate(
        f"(slider => {{ slider.value = {moment}; slider.dispatchEvent(new Event('input')); }})"
        "(document.getElementById('moment')) ?? 0"
    )
    return set(browser.evaluate("[...document.querySelectorAll('.answers')].map(node => node.dataset.node)"))


def test_the_schedule_shows_who_answers_in_which_step(browser, page):
    run = a_run()
    latency = run.found.timing.latency
    browser.open(page, 1440)
    assert browser.evaluate("Number(document.getElementById('moment').max)") == run.found.timing.depth + 4 - 1
    for moment in range(run.found.timing.depth + 4):
        expected = {name for name, steps in latency.items() if 0 <= moment - steps < 4}
        assert answering(browser, moment) == expected


def test_it_plays_to_the_end(browser, page):
    browser.open(page, 1440)
    browser.evaluate("document.getElementById('play').click() ?? 0")
    assert browser.evaluate("document.getElementById('play').textContent") == "Stop"
    while browser.evaluate("document.getElementById('play').textContent") == "Stop":  # pytest's own limit ends it
        time.sleep(0.2)
    assert browser.evaluate("document.getElementById('moment').value === document.getElementById('moment').max")


def test_hostile_names_run_nothing(browser, tmp_path):
    path = tmp_path / "hostile.html"
    bad = "<img src=x onerror=document.title='run'>{}"
    path.write_text(html(a_run(name=bad, words=f"</script>{bad}<script>document.title='run'</script>")))
    browser.open(path.as_uri(), 1200)
    assert [address for address in browser.requests() if not address.startswith("data:")] == [path.as_uri()]
    assert browser.complaints() == []
    click(browser, "<img src=x onerror=document.title='run'>short")
    assert browser.evaluate("document.title") != "run"
    assert browser.evaluate("document.querySelectorAll('img[src=x]').length") == 0
