"""The documentation as a site: every page is in it, it is read without a network, and fits a phone."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from docs.generate import anchors, broken_links, pages
from docs.site import laid_out, places
from tests.chromium import Browser, find_chromium

ROOT = Path(__file__).resolve().parent.parent
PHONE, DESK = 390, 1280
_CODE = re.compile(r"^```.*?^```$|<!--.*?-->|(`+).*?\1", re.MULTILINE | re.DOTALL)


def test_the_navigation_has_every_page() -> None:
    named = re.findall(r": ([\w/]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(named) == sorted(place.as_posix() for place in places().values() if place.suffix == ".md")


def test_a_page_is_laid_out_for_the_site(tmp_path: Path) -> None:
    page, other = tmp_path / "docs" / "sub" / "a.md", tmp_path / "CHANGELOG.md"
    where = {page: Path("sub/a.md"), other: Path("changelog.md")}
    text = (
        "<!-- [[[cog\nprint()\n]]] -->\n[new](../../CHANGELOG.md#one), [`code`](../../cns/x.py), [out](https://x.org)\n"
        "`a<b> \\| c`\n"
        "<!-- [[[end]]] -->\n```text\n[kept](../../cns/x.py)\n```\n```mermaid\nflowchart TD\n a-->b\n```\n"
    )
    pytest.importorskip("mmdr")
    made, drawings = laid_out(text, page, where)
    assert made == (
        "[new](../changelog.md#one), `code`, [out](https://x.org)\n<code>a&lt;b&gt; &#124; c</code>\n"
        "```text\n[kept](../../cns/x.py)\n```\n"
        "[![A drawing of what is said below](../images/drawing_a_1.svg)](../images/drawing_a_1.svg)\n"
    )
    assert [(place.as_posix(), svg.startswith("<svg")) for place, svg in drawings.items()] == [
        ("images/drawing_a_1.svg", True)
    ]


def test_broken_links_and_anchors_are_found(tmp_path: Path) -> None:
    page = tmp_path / "a.md"
    page.write_text(
        "# The `--one`: two!\n# Same\n# Same\n```\n# no heading\n[x](none.md)\n```\n[a](#the---one-two) [b](#no)\n"
    )
    (tmp_path / "b.md").write_text("[a](a.md#same-1) [b](a.md#same-2) [c](none.md#x) [d](a.md) [e](https://x.org/#y)\n")
    assert anchors(page) == {"the---one-two", "same", "same-1"}
    assert broken_links(page) == ["#no"]
    assert broken_links(tmp_path / "b.md") == ["a.md#same-2", "none.md#x"]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_no_word_is_taken_for_html(page: Path) -> None:
    """`<rex>` outside of code is a tag that no browser shows."""
    text = _CODE.sub("", page.read_text(encoding="utf-8"))
    assert re.findall(r"(?<!\\)<(?!sub>|/sub>|br>|https?:)[a-zA-Z/][^>\n]*>", text) == []


@pytest.fixture(scope="module")
def site() -> Path:
    pytest.importorskip("zensical")
    done = subprocess.run(
        [sys.executable, "-m", "docs.site"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return ROOT / "build" / "site"


@pytest.mark.slow
@pytest.mark.skipif(find_chromium() is None, reason="no Chromium on this machine")
def test_every_page_fits_a_phone_and_fetches_nothing(site: Path) -> None:
    wrong = []
    with Browser(find_chromium() or "") as browser:
        for path in sorted(site.rglob("*.html")):
            page = browser.open(path, PHONE, 844, mobile=True)
            if page.evaluate("document.documentElement.scrollWidth") > PHONE:
                wrong.append(f"{path.name} is wider than a phone")
            wrong += [f"{path.name} asks for {url}" for url in page.requests if not url.startswith("file:")]
            if broken := page.evaluate("[...document.images].filter(i => i.complete && !i.naturalWidth).length"):
                wrong.append(f"{path.name} lacks {broken} pictures")
    assert wrong == []


@pytest.mark.skipif(find_chromium() is None, reason="no Chromium on this machine")
def test_the_site_is_searched_from_a_folder_without_a_server(site: Path) -> None:
    with Browser(find_chromium() or "") as browser:
        page = browser.open(site / "tutorials" / "artist.html", DESK)
        page.evaluate("document.querySelector('button.md-search__button').click()")
        page.evaluate("document.execCommand('insertText', false, 'cherry-pick')")
        found = (
            "[...document.querySelectorAll('*')].some(e => e.shadowRoot?.querySelector('a[href*=\"history.html\"]'))"
        )
        deadline = time.monotonic() + 20
        while not page.evaluate(found):
            assert time.monotonic() < deadline, page.messages
            time.sleep(0.05)
        assert [url for url in page.requests if not url.startswith("file:")] == []
