"""The page in a real headless Chromium: laid out, read out, printed, and closed to the network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cns_cli.porcelain.reporting.data import ReportData
from cns_cli.porcelain.reporting.page import page
from tests.chromium import Browser, Page, find_chromium
from tests.reports import NASTY, commit, report_of

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(
    CHROMIUM is None,
    reason="no chromium, google-chrome or chrome-headless-shell is installed: the page is not rendered",
)
PHONE, SMALL_PHONE, DESKTOP = 360, 320, 1200
PAPER = 688  # CSS pixels between the margins of an A4 page
CONTRAST = 4.5  # WCAG 2.2, 1.4.3, level AA
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"

# Text against what lies behind it, for every element with text of its own; returns the worst ratio and its element.
WORST_CONTRAST = """(() => {
  const channels = c => (c.match(/[\\d.]+/g) || []).map(Number);
  const linear = v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => [r, g, b].map(v => linear(v / 255))
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = e => { for (; e; e = e.parentElement) { const c = channels(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] === 1) return c; } return [255, 255, 255]; };
  let worst = [99, ''];
  for (const e of document.body.querySelectorAll('*')) {
    if (e.closest('svg, .hidden, .skip') || !e.checkVisibility()) continue;
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    const [a, b] = [light(channels(getComputedStyle(e).color)), light(behind(e))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < worst[0]) worst = [ratio, e.outerHTML.slice(0, 160)];
  }
  return worst; })()"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM is not None
    with Browser(CHROMIUM) as running:
        yield running


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Any:
    """Write a report's page and open it."""

    def opened(data: ReportData, width: int = DESKTOP) -> Page:
        file = tmp_path / "report.html"
        file.write_text(page(data), encoding="utf-8")
        return browser.open(file, width, 800, mobile=width < 600)

    return opened


def merged() -> ReportData:
    """A history with a merge, two branches and a tag, of a model that forgot something."""
    data = report_of(4, 3, fall=0.05)
    side = commit(9, {}, "try another seed", parents=(data.rows[0].id,), refs=("dev",))
    tip = replace(data.head, parents=(*data.head.parents, side.id), kind="merge", refs=("HEAD -> main", "tag: v1"))
    return replace(data, graph=(tip, data.graph[1], side, *data.graph[2:]), head=tip)


@pytest.mark.parametrize("width", [SMALL_PHONE, PHONE, 700, DESKTOP])
def test_it_opens_without_a_word_on_the_console_and_fits(show: Any, width: int) -> None:
    shown = show(merged(), width)
    assert shown.messages == []
    assert shown.requests == []
    assert shown.evaluate(OVERFLOW) <= 0
    assert shown.evaluate("document.querySelectorAll('h1').length") == 1


@pytest.mark.parametrize("width", [SMALL_PHONE, DESKTOP])
def test_hostile_words_stay_words_and_fit(show: Any, width: int) -> None:
    shown = show(report_of(4, 3, words=NASTY * 3), width)
    assert (shown.messages, shown.requests) == ([], [])
    assert shown.evaluate(OVERFLOW) <= 0
    assert shown.evaluate("document.scripts.length") == 0
    assert "<script>alert(1)</script>" in shown.evaluate("document.querySelector('.lede').innerText")


def test_a_hundred_commits_and_thirty_concepts_fit_a_phone(show: Any) -> None:
    shown = show(report_of(100, 30, fall=0.05), PHONE)
    assert (shown.messages, shown.requests) == ([], [])
    assert shown.evaluate(OVERFLOW) <= 0
    wide = "[...document.querySelectorAll('.scroll')].some(e => e.scrollWidth > e.clientWidth + 100)"
    assert shown.evaluate(wide), "wide tables scroll inside their boxes"


def test_the_checks_above_can_fail(browser: Browser, tmp_path: Path) -> None:
    """A page that does everything that ours must not do."""
    bad = tmp_path / "bad.html"
    bad.write_text('<div style="width:5000px">x</div><img src="http://127.0.0.1:9/x.png"><script>nope()</script>')
    shown = browser.open(bad, PHONE, 800)
    assert shown.evaluate(OVERFLOW) > 0
    assert shown.requests == ["http://127.0.0.1:9/x.png"]
    assert any("nope" in message for message in shown.messages)


def test_the_policy_stops_a_script_and_a_picture_from_elsewhere(show: Any) -> None:
    shown = show(report_of(2, 1))
    shown.evaluate(
        "(() => { const s = document.createElement('script'); s.textContent = 'window.ran = 1'; "
        "document.body.append(s); const i = new Image(); i.src = 'http://127.0.0.1:9/x.png'; "
        "document.body.append(i); })()"
    )
    assert shown.evaluate("window.ran === undefined")
    assert any("Content Security Policy" in message for message in shown.messages)


def test_a_metric_is_chosen_without_a_script(show: Any) -> None:
    shown = show(report_of(3, 2))
    seen = "[...document.querySelectorAll('.metric')].filter(e => e.checkVisibility()).map(e => e.classList[1])"
    assert shown.evaluate(seen) == ["identity", "identity"]
    shown.click("label:has(#metric-clip_i)")
    assert shown.evaluate(seen) == ["clip_i", "clip_i"]


def test_pictures_are_there(show: Any) -> None:
    shown = show(report_of(3, 2))
    shown.evaluate("Promise.all([...document.images].map(i => i.decode()))")
    assert shown.evaluate("[...document.images].map(i => i.naturalWidth)") == [64, 64]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_word_can_be_read(show: Any, scheme: str) -> None:
    shown = show(graded())
    shown.emulate(prefers_color_scheme=scheme)
    ratio, where = shown.evaluate(WORST_CONTRAST)
    assert ratio >= CONTRAST, where


def test_dark_mode_is_dark(show: Any) -> None:
    shown = show(report_of(2, 1))
    colour = "getComputedStyle(document.body).backgroundColor"
    light = shown.evaluate(colour)
    shown.emulate(prefers_color_scheme="dark")
    assert shown.evaluate(colour) != light


def test_print_is_dark_on_light_whatever_the_screen_was(show: Any) -> None:
    shown = show(graded())
    shown.emulate("print", prefers_color_scheme="dark")
    ratio, where = shown.evaluate(WORST_CONTRAST)
    assert ratio >= CONTRAST, where
    assert shown.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert shown.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert shown.pdf().startswith(b"%PDF")
    # Printers leave backgrounds out: what is not told to keep its own must be dark on paper.
    bare = "getComputedStyle(document.querySelector('.ref.head')).color"
    assert shown.evaluate(bare) == "rgb(0, 0, 0)"
    shown.resize(PAPER, 1000)
    wide = "[...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth).length"
    assert shown.evaluate(wide) == 0


def test_a_screen_reader_is_told_everything(show: Any) -> None:
    told = show(merged()).accessible()
    headings = [name for role, name in told if role == "heading"]
    assert headings[:3] == ["This model forgot c0, c1 and c2", "Concepts", "The same prompts, commit by commit"]
    roles = {role for role, _ in told}
    assert {"main", "banner", "contentinfo", "navigation", "table", "columnheader", "rowheader", "radio"} <= roles
    assert [name for role, name in told if role == "radio"] == ["Identity", "CLIP-I", "CLIP-T"]
    assert all(name for role, name in told if role in ("image", "link", "region", "heading"))


def graded() -> ReportData:
    """Cells of every step of the heat map."""
    data = report_of(4, 3, fall=0.05)
    table = data.tables[0]
    cells = tuple(
        tuple(None if cell is None else replace(cell, value=0.5 + 0.04 * (3 * i + j)) for j, cell in enumerate(row))
        for i, row in enumerate(table.cells)
    )
    return replace(data, tables=(replace(table, cells=cells), *data.tables[1:]))
