"""R14, quick: commands without torch under an audit hook; all of them: `python -m tests.torture R14 --size full`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.registry.making import add, new_repository
from tests.torture import audit
from tests.torture.audited import Audit


def test_commands_open_nothing_start_nothing_and_write_where_they_may(tmp_path: Path) -> None:
    add(new_repository(tmp_path / "work"), "rex")
    (tmp_path / "base").mkdir()
    report = audit.audited(audit.plan_of("quick"), tmp_path, tmp_path / "base")
    assert audit.wrongs(report) == []
    assert [ended["code"] for ended in report["ended"][:6]] == [0] * 6


def test_every_command_is_in_the_full_plan() -> None:
    assert {line[0] for line in audit.plan_of("full")} >= audit.verbs()


def test_harness_sees_a_write_elsewhere(tmp_path: Path) -> None:
    """The positive control: `show --preview` is told to write a file that it was not given leave for."""
    add(new_repository(tmp_path / "work"), "rex")
    (tmp_path / "base").mkdir()
    report = audit.audited([("show", "--preview", "stolen.png")], tmp_path, tmp_path / "base")
    assert any("stolen.png is written" in found["what"] for found in report["found"])
    assert report["changed"] == ["work/stolen.png"]


@pytest.mark.parametrize(
    ("event", "args"),
    [
        ("open", ("/etc/x", "w", os.O_WRONLY | os.O_CREAT)),
        ("os.rename", ("/allowed/a", "/elsewhere", -1, -1)),
        ("os.remove", ("/elsewhere", -1)),
        ("socket.connect", (None, ("127.0.0.1", 80))),
        ("socket.getaddrinfo", ("x", 1, 0, 0, 0)),
        ("subprocess.Popen", ("ls", [], None, None)),
        ("os.system", (b"ls",)),
        ("pickle.find_class", ("os", "system")),
        ("marshal.loads", (b"",)),
        ("sqlite3.connect", ("file:/elsewhere.db?mode=ro",)),
    ],
)
def test_hook_knows_what_must_not_be(event: str, args: tuple[Any, ...]) -> None:
    assert Audit(["/allowed"]).judge(event, args)


@pytest.mark.parametrize(
    ("event", "args"),
    [
        ("open", ("/etc/x", "r", os.O_RDONLY)),
        ("open", ("/allowed/x", "w", os.O_WRONLY | os.O_CREAT)),
        ("open", ("/allowed.tmp-1/x", "w", os.O_WRONLY | os.O_CREAT)),
        ("open", ("/dev/null", "w", os.O_WRONLY)),
        ("sqlite3.connect", (":memory:",)),
        ("sqlite3.connect", ("/allowed/index.db",)),
        ("import", ("torch", None, None, None, None)),
    ],
)
def test_hook_lets_the_rest_be(event: str, args: tuple[Any, ...]) -> None:
    assert Audit(["/allowed"]).judge(event, args) == ""


@pytest.mark.slow
def test_all_commands_on_a_tiny_pipeline() -> None:
    (trial,) = audit.run("full")
    assert trial.corrupt == 0, trial.note
    assert "not run" not in trial.note
