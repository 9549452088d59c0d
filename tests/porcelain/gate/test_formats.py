"""The gate's answer for other programs, read back by the programs' own parsers and schemas."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import junitparser
import pytest
import xmlschema
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from cns_cli.output import Output
from cns_cli.porcelain.answers import CheckResult, CheckRow, MetricResult
from cns_cli.porcelain.check import check
from cns_cli.porcelain.gate.formats import github_errors, junit, markdown, markdown_safe, xml_safe
from cns_cli.porcelain.metrics import METRIC_NAMES
from cns_cli.porcelain.options import CheckOptions
from tests.porcelain.checks import COMMIT, EVERY, FORGOT, UNCOMPUTABLE, UNDECIDED, WORST, answer, metric, row

# As Jenkins publishes it (jenkinsci/xunit-plugin); this copy is the one of pytest's own tests.
XUNIT = xmlschema.XMLSchema(str(Path(__file__).parents[2] / "schemas" / "junit-10.xsd"))
SCHEMA = json.loads(files("cns_cli").joinpath("check.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
texts = st.text(st.characters(codec=None, exclude_categories=()), max_size=40)


def suite_of(text: str) -> Any:
    """The one suite, after the schema has agreed."""
    XUNIT.validate(text)
    found = junitparser.JUnitXml.fromroot(ElementTree.fromstring(text.encode()))
    (suite,) = list(found)
    return suite


def cases_of(text: str) -> dict[tuple[str, str], Any]:
    return {(case.classname, case.name): case for case in suite_of(text)}


def test_one_suite_and_one_test_a_concept_and_metric() -> None:
    suite = suite_of(junit(EVERY))
    assert suite.name == f"cns check {COMMIT[:10]}"
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (6, 2, 1, 0)
    assert list(cases_of(junit(EVERY))) == [
        ("cns.rex", "id"), ("cns.tom", "id"), ("cns.tom", "clip-i"), ("cns.mug", "id"), ("cns.pip", "margin"),
        ("cns.(base)", "zero-shot"),
    ]  # fmt: skip
    assert {one.name: one.value for one in suite.properties()}["protocol"] == "d" * 64


def test_forgot_and_inconclusive_are_failures_of_their_type_and_what_cannot_be_computed_is_an_error() -> None:
    cases = cases_of(junit(EVERY))
    (forgot,) = cases["cns.tom", "id"].result
    (undecided,) = cases["cns.mug", "id"].result
    (broken,) = cases["cns.pip", "margin"].result
    assert (type(forgot), forgot.type) == (junitparser.Failure, "forgot")
    assert "fell by 0.220" in forgot.message
    assert "now 0.570, baseline 0.795, drop +0.220, between +0.180 and +0.260" in forgot.text
    assert (type(undecided), undecided.type) == (junitparser.Failure, "inconclusive")
    assert (type(broken), broken.type) == (junitparser.Error, "not-computable")
    assert cases["cns.rex", "id"].is_passed
    assert cases["cns.tom", "clip-i"].is_passed


def test_a_passing_check_has_no_failure_and_an_empty_one_is_valid() -> None:
    assert suite_of(junit(answer(row()))).failures == 0
    assert suite_of(junit(answer())).tests == 0


@pytest.mark.parametrize(
    "result",
    [
        answer(row(verdict="forgot", metrics=(), why="a weight outside its mask changed")),
        answer(row(verdict="inconclusive", metrics=(metric(),))),
        answer(row(verdict="forgot", metrics=(metric(),), gates={"the mask holds": False})),
        answer(row(), passed=False, outcome="inconclusive"),
    ],
    ids=["no metric", "metrics say kept", "a gate", "no row"],
)
def test_what_is_not_kept_is_never_green(result: CheckResult) -> None:
    assert suite_of(junit(result)).failures == 1
    assert not result.rows or "❌" in markdown(result) or "❔" in markdown(result)
    assert github_errors(result)


def test_weight_gates_are_tests_of_their_own() -> None:
    cases = cases_of(
        junit(answer(row(metrics=(metric(metric="drift"),), gates={"outside the mask as the base": True})))
    )
    assert list(cases) == [("cns.rex", "drift"), ("cns.rex", "outside the mask as the base")]


@settings(max_examples=300)
@given(texts, texts)
def test_junit_takes_any_unicode(name: str, why: str) -> None:
    bad = row(concept=name, verdict="forgot", metrics=(metric(verdict="forgot", why=why),), why=why)
    text = junit(answer(bad, warnings=(why,)))
    ((classname, _),) = cases_of(text)
    root = ElementTree.fromstring(text.encode())
    assert classname == f"cns.{xml_safe(name)}"
    assert root.findtext(".//failure", "").startswith(xml_safe(why) or "forgot")


def test_control_characters_stay_visible() -> None:
    text = junit(answer(row(verdict="forgot", metrics=(metric(verdict="forgot", why=WORST),))))
    (found,) = cases_of(text)["cns.rex", "id"].result
    assert "\\x00\\x07\\x1b[31m" in found.message
    assert "\\ud800\\ufffe\\uffff\\u202e" in found.message
    assert "犬 🐕" in found.message


def tables(text: str) -> list[list[str]]:
    """The cells of a Markdown text's tables, as a reader sees them: by markdown-it, GitHub's table rules."""
    cells: list[list[str]] = []
    kind = ""
    for token in MarkdownIt("commonmark", {"html": True}).enable("table").parse(text):
        kind = token.type if token.type.endswith("_open") else kind
        if token.type == "tr_open":
            cells.append([])
        if token.type == "inline" and kind in ("td_open", "th_open"):
            cells[-1].append("".join(visible(token.children or [])))
    return cells


def visible(tokens: list[Any]) -> Iterator[str]:
    for token in tokens:
        assert token.type in ("text", "text_special", "html_inline"), token.type
        if token.type == "html_inline":
            assert token.content == "<!-- -->"
        elif token.content:
            yield token.content


def test_markdown_has_a_row_for_each_metric_and_the_reasons() -> None:
    found = tables(markdown(EVERY))
    assert found[0] == ["concept", "verdict", "metric", "now", "baseline", "drop", "between", "asked"]
    assert found[2] == [
        "tom", "❌ forgot", "identity", "0.570", "0.795", "+0.220", "+0.180 and +0.260", "at most +0.02",
    ]  # fmt: skip
    assert found[3][:3] == ["", "", "CLIP-I"]
    assert found[-1][:6] == ["(base)", "✅ kept", "zero-shot", "0.0123", "", "0.0123"]
    text = markdown(EVERY)
    assert "❌ forgot" in text.splitlines()[0]
    assert "- tom: identity fell by 0.220, between 0.180 and 0.260; allowed&#58; 0.02" in text


@settings(max_examples=300)
@given(texts.filter(str.strip))
def test_markdown_shows_any_text_as_it_is(name: str) -> None:
    safe = row(concept=name, verdict="forgot", metrics=(metric(verdict="forgot"),), why=name)
    found = tables(markdown(answer(safe)))
    assert len(found) == 2
    assert len(found[1]) == 8
    shown = found[1][0]
    assert re.sub(r"\s+", " ", shown).strip() == re.sub(r"\s+", " ", xml_or_text(name)).strip()


def xml_or_text(name: str) -> str:
    """What `safe` makes of a text: Markdown must show exactly that."""
    from cns_cli.output import safe

    return safe(name)


def test_markdown_has_neither_html_nor_mentions() -> None:
    assert markdown_safe("<img src=x onerror=y>|`$`") == ("&#60;img src=x onerror=y&#62;&#124;&#96;&#36;&#96;")
    assert markdown_safe("@you") == "&#64;<!-- -->you"


def test_markdown_of_nothing() -> None:
    assert "nothing to forget" in markdown(answer())


def test_github_gets_one_escaped_line_a_concept() -> None:
    lines = github_errors(EVERY)
    assert lines[0] == (
        "::error title=cns check%3A tom%3A forgot::identity fell by 0.220, between 0.180 and 0.260; allowed: 0.02"
    )
    assert lines[1] == "::error title=cns check%3A mug%3A inconclusive::identity: between -0.020 and 0.030"
    assert len(lines) == 3
    assert github_errors(answer(row())) == []


@given(texts, texts)
def test_a_workflow_command_says_what_was_meant(name: str, why: str) -> None:
    """Read back as the runner reads it (actions/runner, ActionCommand): first `::`, then `,`, then the escapes."""
    (line,) = github_errors(answer(row(concept=name, verdict="forgot", metrics=(), why=why)))
    assert line.isprintable() or not line.isascii()
    assert "\n" not in line
    assert "\r" not in line
    command, data = line.removeprefix("::").split("::", 1)
    properties = command.removeprefix("error ").split(",")
    (title,) = [one.removeprefix("title=") for one in properties]
    expected = xml_or_text(name)
    for code, char in (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        title, data = title.replace(code, char), data if char in ":," else data.replace(code, char)
    assert title.replace("\n", "\\n") == f"cns check: {expected}: forgot".replace("\n", "\\n")
    assert data.replace("\n", "\\n") == (xml_or_text(why.replace("\r\n", "\n")) or "forgot")


def test_github_shows_ten_errors_and_the_last_one_counts_the_rest() -> None:
    rows = [row(concept=f"c{k:02}", verdict="forgot", metrics=(), why="w") for k in range(14)]
    lines = github_errors(answer(*rows))
    assert len(lines) == 10
    assert "5 more concepts" in lines[-1]
    assert lines[-1].endswith("c09, c10, c11, c12, c13")


def as_printed(result: CheckResult, capsys: pytest.CaptureFixture[str]) -> Any:
    Output(as_json=True).answer(result.to_json(), ())
    return json.loads(capsys.readouterr().out)


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_json_follows_its_schema(capsys: pytest.CaptureFixture[str]) -> None:
    for result in (EVERY, answer(), answer(row(gates={"g": True}, overlap={"tom": 0.1}), since=COMMIT)):
        VALIDATOR.validate(as_printed(result, capsys))


def test_the_schema_names_every_field() -> None:
    definitions = SCHEMA["$defs"]
    for kind, described in (
        (CheckResult, SCHEMA),
        (CheckRow, definitions["row"]),
        (MetricResult, definitions["metric"]),
    ):
        assert {one.name for one in dataclasses.fields(kind)} == set(described["properties"]) - {"schema"}
    assert tuple(definitions["metric"]["properties"]["metric"]["examples"]) == METRIC_NAMES


def test_json_of_a_real_check_follows_its_schema(learned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = check(CheckOptions(start=learned, images=1, max_drop={"": 2.0}))
    printed = as_printed(result, capsys)
    VALIDATOR.validate(printed)
    assert [one["concept"] for one in printed["rows"]] == ["rex", "tom"]
    suite_of(junit(result))


BROKEN = {
    "another version": lambda data: data.update(schema="cns-check/2"),
    "no version": lambda data: data.pop("schema"),
    "no rows": lambda data: data.pop("rows"),
    "an unknown verdict": lambda data: data["rows"][0].update(verdict="fine"),
    "a metric without a name": lambda data: data["rows"][0]["metrics"][0].update(metric=""),
    "a figure as text": lambda data: data["rows"][0]["metrics"][0].update(now="0.79"),
    "no figure but kept": lambda data: data["rows"][0]["metrics"][0].update(now=None),
    "a short id": lambda data: data.update(commit="3fa91c0"),
    "passed with a forgotten concept": lambda data: data.update(passed=True),
    "failed but kept": lambda data: data.update(outcome="kept"),
    "a negative count": lambda data: data.update(images=-1),
}


@pytest.mark.parametrize("what", BROKEN)
def test_the_schema_refuses(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    data = as_printed(answer(row(), FORGOT, UNDECIDED, UNCOMPUTABLE), capsys)
    VALIDATOR.validate(data)
    BROKEN[what](data)
    assert list(VALIDATOR.iter_errors(data))
