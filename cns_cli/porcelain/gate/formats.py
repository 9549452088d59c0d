"""The gate's answer for other programs: JUnit XML for CI servers, Markdown for pull requests, annotations for GitHub.

Each format is one function from a `CheckResult` to text. What is not "kept" is never green in any of them: where no
metric tells why a concept failed, the concept itself becomes the failing test. Names and reasons may hold any
character; each function escapes them for its own reader. Nothing here writes a file or knows the environment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

from cns_cli import figures
from cns_cli.output import safe
from cns_cli.porcelain.answers import CheckResult, CheckRow, MetricResult
from cns_cli.porcelain.metrics import BY_WEIGHTS, METRICS, grows, label_of

SAME = "same weights"
"""What stands in the place of an interval where the two sides are one model: nothing was drawn to know that."""

GITHUB_ANNOTATIONS = 10
"""GitHub shows this many errors of one step and drops the rest without a word."""

_MARKS = {"kept": "✅", "forgot": "❌", "inconclusive": "❔"}

# XML 1.0 (fifth edition), production 2: beside what `safe` escapes, these two are no characters.
_NOT_IN_XML = re.compile("[\ufffe\uffff]")
_MARKDOWN = re.compile(r"[\\`*_{}\[\]()<>#!|~&$:@]")


@dataclass(frozen=True)
class TestCase:
    """One test of the JUnit report. `problem` is None for a test that passed; `kind` is its type."""

    concept: str
    name: str
    problem: Literal["failure", "error"] | None = None
    kind: str = ""
    why: str = ""
    facts: str = ""


def junit(result: CheckResult) -> str:
    """Write a check as JUnit XML: one suite, one test a concept and metric (and a weight gate with `--fast`).

    Forgot and inconclusive are failures, of these types; what cannot be computed is an error. The shape is that of the
    schema `junit-10.xsd`, which Jenkins publishes and GitLab, GitHub actions and others read.
    """
    cases = [case for row in result.rows for case in row_cases(row)]
    if not result.passed and not any(case.problem for case in cases):
        cases.append(TestCase("(check)", "verdict", "failure", result.outcome, f"the check ended {result.outcome}"))
    counts = {
        "tests": str(len(cases)),
        "failures": str(sum(case.problem == "failure" for case in cases)),
        "errors": str(sum(case.problem == "error" for case in cases)),
        "time": f"{result.elapsed_s:.3f}",
    }
    root = ElementTree.Element("testsuites", {"name": "cns check", **counts})
    suite = ElementTree.SubElement(
        root, "testsuite", {"name": f"cns check {figures.short_id(result.commit)}", "skipped": "0", **counts}
    )
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in _properties(result):
        ElementTree.SubElement(properties, "property", {"name": name, "value": xml_safe(value)})
    for case in cases:
        suite.append(_element(case))
    if result.warnings:
        ElementTree.SubElement(suite, "system-err").text = xml_safe("\n".join(result.warnings))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def row_cases(row: CheckRow) -> list[TestCase]:
    """The tests that one concept makes; at least one of them fails unless the concept was kept."""
    cases = [_metric_case(row.concept, one) for one in row.metrics]
    cases += [
        TestCase(row.concept, gate) if held else TestCase(row.concept, gate, "failure", "forgot", f"{gate}: not so")
        for gate, held in row.gates.items()
    ]
    if row.verdict == "kept":
        return cases or [TestCase(row.concept, "verdict")]
    if not any(case.problem for case in cases):
        cases.append(TestCase(row.concept, "verdict", "failure", row.verdict, row.why or row.verdict))
    return cases


def markdown(result: CheckResult) -> str:
    """Write a check as a Markdown section: verdict, one table row a concept and metric, reasons, protocol."""
    lines = [f"### `cns check` {figures.short_id(result.commit)}: {_MARKS[result.outcome]} {result.outcome}", ""]
    if not result.rows:
        lines.append("The revision holds no concept; there is nothing to forget.")
        return "\n".join(lines) + "\n"
    lines.append("| concept | verdict | metric | now | baseline | drop | between | asked |")
    lines.append("| --- | --- | --- | ---: | ---: | ---: | --- | --- |")
    lines += [line for row in result.rows for line in _table_rows(row)]
    reasons = [(row.concept, row.why) for row in result.rows if row.why and row.verdict != "kept"]
    if reasons:
        lines += ["", *(f"- {markdown_safe(name)}: {markdown_safe(why)}" for name, why in reasons)]
    if any(row.gates for row in result.rows):
        lines += ["", markdown_safe(BY_WEIGHTS)]
    if result.warnings:
        lines += ["", *(f"- warning: {markdown_safe(warning)}" for warning in result.warnings)]
    lines += ["", f"<sub>{_footer(result)}</sub>"]
    return "\n".join(lines) + "\n"


def github_errors(result: CheckResult) -> list[str]:
    """One `::error` workflow command for each concept that was not kept; at most as many as GitHub shows."""
    failed = [row for row in result.rows if row.verdict != "kept"]
    shown = failed if len(failed) <= GITHUB_ANNOTATIONS else failed[: GITHUB_ANNOTATIONS - 1]
    lines = [_annotation(f"{row.concept}: {row.verdict}", reason_of(row)) for row in shown]
    if len(shown) < len(failed):
        others = ", ".join(row.concept for row in failed[len(shown) :])
        lines.append(_annotation(f"{len(failed) - len(shown)} more concepts", f"not kept either: {others}"))
    if not failed and not result.passed:
        lines.append(_annotation("cns check", f"the check ended {result.outcome}"))
    return lines


def reason_of(row: CheckRow) -> str:
    """Why a concept was not kept, in one text; never empty."""
    reasons = [f"{label_of(one.metric)}: {one.why}" for one in row.metrics if one.why]
    return row.why or "; ".join(reasons) or row.verdict


def facts_of(one: MetricResult) -> str:
    """The figures of a metric in one line: what is now, what was, the drop with its bounds, what was asked."""
    parts = [f"now {_figure(one, one.now)}"]
    if one.baseline is not None:
        parts.append(f"baseline {_figure(one, one.baseline)}")
    if one.drop is not None and one.baseline is not None:
        parts.append(f"drop {one.drop:+.3f}")
    if between := _between(one):
        parts.append(between if one.same else f"between {between}")
    if asked := _asked(one):
        parts.append(f"asked: {asked}")
    return ", ".join(parts)


def computable(one: MetricResult) -> bool:
    """Whether the metric has a figure at all."""
    return one.drop is not None


def xml_safe(text: str) -> str:
    """Make any string fit for XML 1.0: what may not stand there becomes its visible escape. Markup is not touched."""
    return _NOT_IN_XML.sub(lambda found: f"\\u{ord(found[0]):04x}", safe(text, keep_newlines=True))


def markdown_safe(text: str) -> str:
    """Make any string plain text in GitHub's Markdown, also within a table cell.

    Every character of markup becomes its numeric entity, so that it neither ends a cell nor makes a link, a tag, an
    emoji or a formula. GitHub looks for mentions in the finished page: an empty comment parts `@` from a name.
    """
    return _MARKDOWN.sub(lambda found: f"&#{ord(found[0])};", safe(text)).replace("&#64;", "&#64;<!-- -->")


def github_data(text: str) -> str:
    """Escape the message of a workflow command: %, CR and LF."""
    return safe(text.replace("\r\n", "\n"), keep_newlines=True).replace("%", "%25").replace("\n", "%0A")


def github_property(text: str) -> str:
    """Escape a property of a workflow command: as the message, and `:` and `,`."""
    return github_data(text).replace(":", "%3A").replace(",", "%2C")


def _annotation(title: str, message: str) -> str:
    return f"::error title={github_property(f'cns check: {title}')}::{github_data(message)}"


def _metric_case(concept: str, one: MetricResult) -> TestCase:
    facts = facts_of(one)
    if not computable(one):
        why = one.why or f"{one.metric} cannot be computed"
        return TestCase(concept, one.metric, "error", "not-computable", why, facts)
    if one.verdict == "kept":
        return TestCase(concept, one.metric, facts=facts)
    return TestCase(concept, one.metric, "failure", one.verdict, one.why or one.verdict, facts)


def _element(case: TestCase) -> ElementTree.Element:
    element = ElementTree.Element(
        "testcase", {"classname": f"cns.{xml_safe(case.concept)}", "name": xml_safe(case.name), "time": "0.000"}
    )
    if case.problem:
        found = ElementTree.SubElement(element, case.problem, {"type": case.kind, "message": xml_safe(case.why)})
        found.text = xml_safe("\n".join(part for part in (case.why, case.facts) if part))
    elif case.facts:
        ElementTree.SubElement(element, "system-out").text = xml_safe(case.facts)
    return element


def _properties(result: CheckResult) -> Iterator[tuple[str, str]]:
    yield "commit", result.commit
    yield "tree", result.tree
    if result.since:
        yield "since", result.since
    yield "outcome", result.outcome
    yield "protocol", result.protocol
    yield "images", str(result.images)


def _table_rows(row: CheckRow) -> Iterator[str]:
    head = [markdown_safe(row.concept), f"{_MARKS[row.verdict]} {row.verdict}"]
    cells = [_metric_cells(one) for one in row.metrics]
    cells += [[markdown_safe(gate), "yes" if held else "no", "", "", "", ""] for gate, held in row.gates.items()]
    for some in cells or [[""] * 6]:
        yield "| " + " | ".join([*head, *some]) + " |"
        head = ["", ""]


def _metric_cells(one: MetricResult) -> list[str]:
    baseline = "" if one.baseline is None else _figure(one, one.baseline)
    drop = "" if one.drop is None else f"{one.drop:+.3f}" if one.baseline is not None else _figure(one, one.drop)
    label = markdown_safe(label_of(one.metric))
    return [label, _figure(one, one.now), baseline, drop, _between(one), _asked(one)]


def _figure(one: MetricResult, value: float) -> str:
    return figures.cosine(value) if one.metric in METRICS and not grows(one.metric) else figures.drift(value)


def _between(one: MetricResult) -> str:
    if one.low is None or one.high is None:
        return SAME if one.same else ""
    return f"{one.low:+.3f} and {one.high:+.3f}"


def _asked(one: MetricResult) -> str:
    parts = [] if one.max_drop is None else [f"at most {one.max_drop:+g}"]
    return ", ".join(parts + ([] if one.minimum is None else [f"now at least {one.minimum:g}"]))


def _footer(result: CheckResult) -> str:
    since = f", since {figures.short_id(result.since)}" if result.since else ""
    return (
        f"{figures.plural(result.images, 'image')} judged, {figures.plural(result.images_made, 'new one')}, "
        f"{figures.duration(result.elapsed_s)}{since}; protocol {figures.short_id(result.protocol) or 'none'}"
    )
