"""The page as text: escaped, closed to the network, bounded, the same every time."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from cns_cli.porcelain.reporting.page import page
from tests.reports import NASTY, report_of

VOID = {"meta", "link", "img", "input", "br", "hr"}


class Outline(HTMLParser):
    """Collects elements and text, and checks that every element is closed in its place."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join(self.words)


def test_the_page_is_well_formed_and_says_what_it_must() -> None:
    outline = Outline(page(report_of(3, 2, fall=0.05)))
    for word in ("This model forgot c0 and c1", "Identity", "CLIP-I", "0.750", "−0.050", "K/V drift", "0.0100", "50 %"):
        assert word in outline.text, word
    assert [attributes["id"] for attributes in outline.all("section")] == [
        "concepts", "pictures", "matrix", "curves", "drift", "overlap", "lineage", "settings",
    ]  # fmt: skip
    assert len(outline.all("h1")) == 1
    assert [attributes["type"] for attributes in outline.all("input")] == ["radio"] * 3


def test_every_string_of_a_user_is_text() -> None:
    text = page(report_of(3, 2, words=NASTY))
    outline = Outline(text)
    assert outline.all("script") == []
    assert all(not name.startswith("on") for _, attributes in outline.elements for name in attributes)
    assert all((image["src"] or "").startswith("data:image/webp;base64,") for image in outline.all("img"))
    assert text.count("<style>") == text.count("</style>") == 1
    for char in ("\x1b", "\u202e", "\u2028"):
        assert char not in text
    assert "\\x1b[31m" in outline.text


def test_no_element_and_no_style_asks_for_an_address() -> None:
    text = page(report_of(3, 2))
    outline = Outline(text)
    addresses = [
        attributes.get(name) for _, attributes in outline.elements for name in ("src", "href", "action", "srcset")
    ]
    assert all(one is None or one.startswith(("data:", "#")) for one in addresses)
    style = re.search("<style>(.*)</style>", text, re.DOTALL)
    assert style is not None
    assert not re.search(r"url\(|@import|https?:", style.group(1))
    assert all("style" not in attributes for _, attributes in outline.elements), "the policy forbids style attributes"


def test_the_policy_allows_this_style_sheet_and_pictures_inside_alone() -> None:
    text = page(report_of(2, 1))
    style = re.search("<style>(.*)</style>", text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style.group(1).encode()).digest()).decode()
    (policy,) = [one["content"] for one in Outline(text).all("meta") if one.get("http-equiv")]
    assert (
        policy == f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    assert text.index("Content-Security-Policy") < text.index("<style>")


def test_every_picture_and_drawing_is_in_words_or_hidden() -> None:
    outline = Outline(page(report_of(3, 2)))
    assert all(image["alt"] for image in outline.all("img"))
    drawings = outline.all("svg")
    assert drawings
    assert all(one.get("aria-hidden") == "true" or one.get("aria-label") for one in drawings)
    curve = next(one["aria-label"] for one in drawings if one.get("aria-label"))
    assert curve == "Identity of c0: at birth 0.800; #1: 0.800, #2: 0.800, #3: 0.800; base 0.500, ceiling 0.900"


def test_tables_have_headers_and_scroll_in_boxes_that_a_keyboard_reaches() -> None:
    outline = Outline(page(report_of(3, 2)))
    assert all(header.get("scope") in ("row", "col") for header in outline.all("th"))
    boxes = [one for one in outline.all("div") if "scroll" in (one.get("class") or "").split()]
    assert boxes
    assert all(one["tabindex"] == "0" and one["role"] == "region" and one["aria-label"] for one in boxes)


def test_ids_are_unique_and_links_lead_somewhere() -> None:
    outline = Outline(page(report_of(3, 2)))
    ids = [attributes["id"] for _, attributes in outline.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {(link["href"] or "")[1:] for link in outline.all("a")} <= set(ids)
    assert {one["aria-labelledby"] for one in outline.all("section")} <= set(ids)


def test_what_was_not_measured_is_said_with_the_command() -> None:
    bare = replace(report_of(3, 2), tables=(), outcomes=("unmeasured",) * 2, worst=(None,) * 2, protocol_digest="")
    text = Outline(page(bare)).text
    assert "Not measured yet: c0 and c1" in text
    assert "cns report --fill" in text
    assert "cns check" in text


def test_a_gap_is_hatched_and_told() -> None:
    data = report_of(3, 2)
    table = data.tables[0]
    cells = (table.cells[0], (None, table.cells[1][1]), table.cells[2])
    text = page(replace(data, tables=(replace(table, cells=cells),)))
    assert "1 score is not measured" in text
    assert '<td class="none"><span class="hidden">not measured</span></td>' in text
    assert 'class="curve gap"' in text


def test_the_step_that_did_it_is_named() -> None:
    two = report_of(2, 1, fall=0.05)
    assert "Identity moved by −0.050 with #2" in Outline(page(two)).text
    assert "somewhere after #1 and not later than #4" in Outline(page(report_of(4, 1, fall=0.05))).text


@pytest.mark.parametrize(
    ("outcomes", "headline"),
    [
        (("kept", "kept"), "Nothing was forgotten: c0 and c1 are kept"),
        (("kept", "inconclusive"), "Not decided: c1 may have been forgotten"),
        (("unmeasured", "inconclusive"), "Not decided: c1 may have been forgotten"),
        (("forgot", "inconclusive"), "This model forgot c0"),
    ],
)
def test_the_headline_is_the_worst_outcome(outcomes, headline) -> None:
    assert headline in Outline(page(replace(report_of(3, 2), outcomes=outcomes))).text


def test_an_empty_model_has_a_page_too() -> None:
    data = report_of(1, 1)
    empty = replace(data, columns=(), tables=(), outcomes=(), worst=(), drift={}, overlap={}, sheets=())
    assert "nothing to forget" in Outline(page(empty)).text


def test_the_same_data_gives_the_same_bytes() -> None:
    assert page(report_of(4, 3)) == page(report_of(4, 3))


def test_a_hundred_commits_and_thirty_concepts_stay_a_page() -> None:
    text = page(report_of(100, 30, fall=0.05))
    assert len(text) < 4_000_000
    Outline(text)
