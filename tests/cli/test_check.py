from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cns_cli.commands.check import exit_code, limits_of, result_lines, write_reports
from cns_cli.output import Output
from cns_cli.porcelain.answers import CheckResult, CheckRow, MetricResult


def metric(name: str, now: Any, baseline: Any, drop: Any, low: Any, high: Any, **more: Any) -> MetricResult:
    facts = {"verdict": "kept", "max_drop": 0.02, "minimum": None, "images": 20} | more
    return MetricResult(metric=name, now=now, baseline=baseline, drop=drop, low=low, high=high, **facts)


IDS = {"concept_id": "0" * 64, "baseline_tree": "1" * 64}
KEPT = CheckRow(
    concept="rex",
    verdict="kept",
    metrics=(
        metric("id", 0.79, 0.795, 0.005, -0.004, 0.014),
        metric("clip-i", 0.7, 0.7, 0.0, -0.003, 0.003),
    ),
    drift=0.00123,
    **IDS,
)
FORGOT = CheckRow(
    concept="tom",
    verdict="forgot",
    metrics=(metric("id", 0.57, 0.79, 0.22, 0.18, 0.26, verdict="forgot"),),
    why="id fell by 0.220, between 0.180 and 0.260; allowed: 0.02",
    **IDS,
)
TABLE = """\
3fa91c02ab: 10 prompts, 60 images (0 new)

concept                        now  before    drop  between
rex      kept    identity    0.790   0.795  +0.005  -0.004 to 0.014
                 CLIP-I      0.700   0.700  +0.000  -0.003 to 0.003
                 K/V drift  0.0012
tom      forgot  identity    0.570   0.790  +0.220  0.180 to 0.260
tom: id fell by 0.220, between 0.180 and 0.260; allowed: 0.02

limits: identity, CLIP-I drop at most 0.02
not kept: tom
"""


def printed(result: CheckResult, capsys: pytest.CaptureFixture[str]) -> str:
    Output().answer({}, result_lines(result))
    return capsys.readouterr().out


def answer(*rows: CheckRow) -> CheckResult:
    passed = all(row.verdict == "kept" for row in rows)
    return CheckResult(
        commit="3fa91c02ab" + "0" * 54, tree="2" * 64, since=None, rows=rows, outcome="kept" if passed else "forgot",
        passed=passed, prompts=10, images=60, images_made=0, protocol="3" * 64, elapsed_s=1.5,
    )  # fmt: skip


def test_one_line_a_metric_and_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(answer(KEPT, FORGOT), capsys) == TABLE


def test_all_kept(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(answer(KEPT), capsys).endswith("\nkept: 1 concept\n")


def test_nothing_to_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert "nothing to forget" in printed(answer(), capsys)


def test_a_concept_without_any_score_still_has_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    bare = CheckRow(concept="pip", verdict="inconclusive", metrics=(), why="no score", **IDS)
    assert "pip      inconclusive" in printed(answer(bare), capsys)


def test_json_is_nested_plain_values_under_a_version() -> None:
    data = answer(KEPT, FORGOT).to_json()
    assert data["schema"] == "cns-check/1"
    found = data["rows"][0]["metrics"][0]
    assert (found["metric"], found["now"], found["high"]) == ("id", 0.79, 0.014)
    assert len(data["rows"][1]["metrics"]) == 1


GROWTH = metric("class-drift", 0.031, None, 0.031, 0.02, 0.04, max_drop=0.1)
DRIFT = metric("drift", 0.0004, None, 0.0004, None, None, max_drop=0.01, images=0)
BROKEN = metric(
    "margin", float("nan"), None, None, None, None, verdict="inconclusive", images=0, why="margin cannot be computed: x"
)


def test_what_grows_is_exact_or_cannot_be_computed_has_its_own_line(capsys: pytest.CaptureFixture[str]) -> None:
    row = CheckRow(
        concept="pip", verdict="inconclusive", metrics=(GROWTH, DRIFT, BROKEN), drift=0.0004, why=BROKEN.why, **IDS
    )
    text = printed(answer(row), capsys)
    assert "class drift                  +0.031  0.020 to 0.040" in text
    assert text.count("K/V drift") == 2  # once in the table, once among the limits
    assert re.search(r"^ +margin +- +- +-$", text, re.MULTILINE)
    assert "pip: margin cannot be computed: x" in text


def test_the_table_fits_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    worst = metric("clip-i", 0.795, 0.815, -0.021, -0.035, -0.005, verdict="inconclusive")
    other = replace(GROWTH, metric="zero-shot")
    row = CheckRow(
        concept="ninechars", verdict="inconclusive", metrics=(worst, GROWTH, DRIFT, other),
        why="a metric " * 12 + "cannot be told: cns check --metric clip-i,clip-t --images 200", **IDS,
    )  # fmt: skip
    assert max(map(len, printed(answer(row), capsys).splitlines())) <= 80


def test_weights_and_gates_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = {"share_kv": 0.058, "overlap": {"tom": 0.1, "pip": 0.61}}
    row = CheckRow(concept="rex", verdict="kept", metrics=(DRIFT,), drift=0.0004, **sizes, **IDS)
    whole = CheckRow(concept="(base)", verdict="kept", metrics=(), gates={"rows are whole": True, "x": False}, **IDS)
    text = printed(replace(answer(row, whole), images=0), capsys)
    assert "weights     5.8 %" in text
    assert "61 % of them also pip's" in text
    assert "yes  rows are whole\nNO   x\n" in text
    assert "\n--fast looks at weights alone: pictures (cns check) may contradict it, both ways\n" in text
    assert "kept: 1 concept\n" in text


def test_limits_are_said_once() -> None:
    least = metric("id", 0.79, 0.79, 0.0, 0.0, 0.0, minimum=0.6)
    row = CheckRow(concept="rex", verdict="kept", metrics=(least, DRIFT), **IDS)
    assert limits_of([row, row]) == "identity drop at most 0.02; identity at least 0.6; K/V drift at most 0.01"
    assert limits_of([]) == "none"


@pytest.mark.parametrize(("outcome", "bisect", "code"), [
    ("forgot", False, 3), ("inconclusive", False, 3), ("forgot", True, 3), ("inconclusive", True, 125),
])  # fmt: skip
def test_exit_codes(outcome: Any, bisect: bool, code: int) -> None:
    assert exit_code(replace(answer(FORGOT), outcome=outcome), bisect=bisect) == code


def test_reports_are_written_where_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    junit, markdown = tmp_path / "check.xml", tmp_path / "check.md"
    write_reports(answer(KEPT, FORGOT), Output(), junit, markdown)
    assert "<testsuite" in junit.read_text(encoding="utf-8")
    assert "tom" in markdown.read_text(encoding="utf-8")
    assert capsys.readouterr().out == TABLE


def test_github_gets_a_summary_and_annotations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    write_reports(answer(KEPT, FORGOT), Output(), None, None)
    assert "\n::error title=" in capsys.readouterr().out
    assert summary.read_text().startswith("before\n")
    assert "tom" in summary.read_text()
    write_reports(answer(KEPT, FORGOT), Output(as_json=True), None, None)
    said = capsys.readouterr()
    assert json.loads(said.out)["schema"] == "cns-check/1"
    assert said.err.startswith("::error title=")


def test_a_summary_that_cannot_be_written_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "none" / "summary.md"))
    write_reports(answer(KEPT), Output(), None, None)
    assert "warning: the summary" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--metric", "id,fid"], "'fid' is no metric"),
        (["--max-drop", "sharp=1"], "'sharp' is no metric"),
        (["--max-drop", "identity=1"], "'identity' is no metric; did you mean id? expected id,"),
        (["--max-drop", "-0.1"], "at least 0"),
        (["--max-drop", "id="], "is no limit"),
        (["--max-drop", "nan"], "is no limit"),
        (["--min", "id=2"], "from -1 to 1"),
        (["--images", "0"], "images"),
        (["--prompts", "nowhere.txt"], "nowhere.txt"),
        (["--junit", "nowhere/x.xml"], "nowhere"),
    ],
)
def test_a_wrong_flag_is_named(words: list[str], said: str, lineage: Any, cns: Any) -> None:
    result = cns("check", *words)
    assert result.exit_code == 2
    assert said in result.stderr


def test_with_bisect_a_mistake_is_no_verdict(lineage: Any, cns: Any) -> None:
    assert cns("check", "--bisect", "nope").exit_code == 125
    assert cns("check", "--bisect", "--since", "nope").exit_code == 125
    assert cns("check", "--bisect", "--metric", "fid").exit_code == 125
    assert cns("check", "--bisect", "--imges", "3").exit_code == 125
    assert cns("check", "--bisect", "--images", "none").exit_code == 125
    assert cns("check", "--bisect", "--help").exit_code == 0
    assert cns("check", "--imges", "3").exit_code == 2
    assert cns("check", "--since", "nope").exit_code == 4
    assert cns("check").exit_code == 0  # no concept: nothing to forget
