from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cns_cli.output import Output
from tests.cli.conftest import Lineage, modules_after


def test_a_page_is_written_and_the_answer_says_what_it_holds(lineage: Lineage, cns: Any, tmp_path: Path) -> None:
    lineage.add("rex")
    lineage.add("tom", noun="cat")
    result = cns("report", "--no-images")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0] == "report.html"
    assert "0 of 3 scores" in result.stdout
    assert "cns report --fill" in result.stderr
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "Not measured yet: rex and tom" in page


def test_json_is_the_whole_answer(lineage: Lineage, cns: Any, tmp_path: Path) -> None:
    made = lineage.add("rex")
    result = cns("report", "HEAD", "-o", "r.html", "--no-images", "--json")
    answer = json.loads(result.stdout)
    assert answer["path"] == "r.html"
    assert answer["commit"] == made.id
    assert (answer["outcome"], answer["measured"], answer["missing"], answer["pictures"]) == ("unmeasured", 0, 1, 0)
    assert [row["subject"] for row in answer["commits"]][-1] == "add rex"
    assert answer["concepts"] == [{"name": "rex", "id": answer["concepts"][0]["id"], "outcome": "unmeasured"}]
    assert answer["scores"] == []
    assert answer["bytes_written"] == (tmp_path / "r.html").stat().st_size


def test_a_report_from_what_is_stored_loads_no_torch(lineage: Lineage, tmp_path: Path) -> None:
    lineage.add("rex")
    assert not modules_after(["report", "--no-images"], tmp_path) & {"torch", "diffusers", "transformers", "mlflow"}
    assert (tmp_path / "report.html").exists()


def test_without_its_base_the_page_is_written_without_pictures(lineage: Lineage, cns: Any, tmp_path: Path) -> None:
    """The registry of these tests is on a base that no folder holds."""
    lineage.add("rex")
    result = cns("report")
    assert result.exit_code == 0, result.output
    assert "no pictures" in result.stderr
    assert "no pictures" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_names_and_messages_of_others_do_no_harm(lineage: Lineage, cns: Any, tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>\x1b[31m\u202e"
    lineage.add("rex", noun=hostile, message=hostile)
    result = cns("report", "--no-images")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert not {"\x1b", "\u202e"} & set(page + result.output)


def test_a_folder_that_is_not_there_is_refused_before_anything_is_read(lineage: Lineage, cns: Any) -> None:
    result = cns("report", "-o", "nowhere/r.html")
    assert result.exit_code == 2
    assert "nowhere" in result.stderr


def test_an_unknown_revision_is_refused(lineage: Lineage, cns: Any, tmp_path: Path) -> None:
    result = cns("report", "nope")
    assert result.exit_code == 4
    assert "nope" in result.stderr
    assert not (tmp_path / "report.html").exists()


def test_a_revision_that_is_older_is_reported_as_it_was(lineage: Lineage, cns: Any, tmp_path: Path) -> None:
    lineage.add("rex")
    lineage.add("tom", noun="cat")
    cns("report", "HEAD~1", "--no-images")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Not measured yet: rex<" in page
    assert "add tom" in page, "the lineage shows every branch"


def test_an_old_page_is_replaced_at_once(lineage: Lineage, cns: Any, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("old")
    assert cns("report", "--no-images").exit_code == 0
    assert "nothing to forget" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir() if "tmp" in path.name] == []


def test_a_page_is_written_through_links_and_to_devices(lineage: Lineage, cns: Any, tmp_path: Path) -> None:
    (tmp_path / "real.html").write_text("old")
    (tmp_path / "link.html").symlink_to(tmp_path / "real.html")
    (tmp_path / "nowhere").symlink_to("/dev/null")
    for out in ("link.html", "nowhere"):
        assert cns("report", "--no-images", "-o", out).exit_code == 0
        assert (tmp_path / out).is_symlink()
    assert (tmp_path / "real.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_the_answer_s_lines() -> None:
    from cns_cli.commands.report import result_lines
    from cns_cli.porcelain.report import ReportResult

    result = ReportResult(
        path=Path("r.html"), commit="3fa91c02ab" + "0" * 54, outcome="forgot", verdict="This model forgot rex",
        bytes_written=290_000, measured=3, missing=0, pictures=24, elapsed_s=1.0, left_out=("the newest only",),
    )  # fmt: skip
    lines = list(result_lines(result))
    assert lines[2:] == ["3fa91c02ab: 3 of 3 scores, 24 pictures, 290 KB", "left out: the newest only"]
    Output().answer({}, lines)
