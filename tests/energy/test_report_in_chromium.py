"""The report as a browser shows it: no request, no complaint, and nothing that is too wide, too small or unseen."""

import re

import pytest

from energy.report import figures, html
from tests import chromium
from tests.energy.documents import document

pytestmark = pytest.mark.skipif(chromium.PATH is None, reason="no Chromium here (Debian's package: chromium)")

WIDTHS = (375, 820, 1440)

DRAWN = """[...document.querySelectorAll("svg.panel")].filter(svg => svg.checkVisibility()).map(svg => {
    const box = svg.getBoundingClientRect();
    const sizes = [...svg.querySelectorAll("text")].map(text => text.getBoundingClientRect().height);
    return {left: box.left, right: box.right, height: box.height, text: Math.min(...sizes)};
})"""

OVERFLOWING = """[...document.querySelectorAll("body *")].filter(element =>
    element.checkVisibility() && !element.closest(".scroll, svg")
    && element.getBoundingClientRect().right > innerWidth + 1
).map(element => element.outerHTML.slice(0, 80))"""

FAINTEST = """(() => {
    const shade = colour => {
        const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
            .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const paper = element => {
        const own = getComputedStyle(element).backgroundColor;
        return own === "rgba(0, 0, 0, 0)" && element.parentElement ? paper(element.parentElement) : own;
    };
    const contrast = element => {
        const ink = shade(getComputedStyle(element)[element.closest("svg") ? "fill" : "color"]);
        const ground = shade(paper(element));
        return (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
    };
    const texts = document.querySelectorAll("p, h1, h2, td, th, summary, figcaption, li, svg .ink, svg .faint");
    return Math.min(...[...texts].filter(element => element.checkVisibility()).map(contrast));
})()"""

CHARTS = """[...document.querySelectorAll(".bar, .dot, .heat td")].filter(mark => mark.checkVisibility()).map(mark => {
    const box = mark.getBoundingClientRect();
    return [box.left, box.right, box.height];
})"""

PAPER = "getComputedStyle(document.body).backgroundColor"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    running = chromium.Chromium(tmp_path_factory.mktemp("profile"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(html(document(layers=40, name="block.{}.synapse.conv")))
    return path.as_uri()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_page_shows_every_figure_and_fits(browser, page, width, dark):
    browser.open(page, width, dark)
    assert browser.requests() == [page]
    assert browser.complaints() == []
    charts = browser.evaluate(CHARTS)
    assert len(charts) >= 200
    for left, right, height in charts:
        assert 0 <= left <= right <= width
        assert height > 8
    browser.evaluate("document.querySelectorAll('details').forEach(details => details.open = true) ?? 0")
    drawn = browser.evaluate(DRAWN)
    assert len(drawn) >= 2
    for panel in drawn:
        assert panel["height"] > 15
        assert panel["left"] >= 0
        assert panel["right"] <= width
        assert panel["text"] >= 9
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    assert browser.evaluate(OVERFLOWING) == []
    assert browser.evaluate(PAPER) == ("rgb(20, 24, 28)" if dark else "rgb(255, 255, 255)")
    # 4.5 is what WCAG 2.2 asks for at level AA.
    assert browser.evaluate(FAINTEST) >= 4.5


def test_the_whole_page_can_be_drawn(browser, page):
    browser.open(page, 375, dark=True)
    assert browser.picture().startswith(b"\x89PNG")


def test_hostile_names_run_nothing(browser, tmp_path):
    path = tmp_path / "hostile.html"
    path.write_text(
        html(document(name="</title><img src=x onerror=document.title='run'><script>console.log(1)</script>{}"))
    )
    browser.open(path.as_uri(), 1200)
    assert browser.requests() == [path.as_uri()]
    assert browser.complaints() == []
    assert browser.evaluate("document.querySelectorAll('img, script').length") == 0
    assert browser.evaluate("document.title") != "run"


def test_print_shows_what_is_folded_on_the_screen(browser, page):
    browser.open(page, 800)
    folded = "[...document.querySelectorAll('details:not([open]) table')].map(table => table.checkVisibility())"
    assert set(browser.evaluate(folded)) == {False}
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert set(browser.evaluate(folded)) == {True}
    assert browser.evaluate(PAPER) == "rgb(255, 255, 255)"
    browser.call("Emulation.setEmulatedMedia", media="")
    printed = browser.pdf()
    assert printed.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) > 5


def test_figures_are_shown_as_files(browser, tmp_path):
    for name, text in figures(document()).items():
        path = tmp_path / f"{name}.svg"
        path.write_text(text)
        browser.open(path.as_uri(), 1200)
        assert browser.requests() == [path.as_uri()]
        assert browser.complaints() == []
        box = browser.evaluate("(() => { const b = document.documentElement.getBBox(); return [b.width, b.height] })()")
        assert min(box) > 50


def test_these_tests_would_notice(browser, tmp_path):
    path = tmp_path / "bad.html"
    path.write_text(
        "<body style='color: #ccc; background: #fff'><p style='width: 999px'>faint and wide</p>"
        "<img src='missing.png'><script>console.error('wrong')</script>"
    )
    browser.open(path.as_uri(), 375)
    assert browser.requests() == [path.as_uri(), (tmp_path / "missing.png").as_uri()]
    assert len(browser.complaints()) >= 2
    assert len(browser.evaluate(OVERFLOWING)) == 1
    assert browser.evaluate(FAINTEST) < 2
