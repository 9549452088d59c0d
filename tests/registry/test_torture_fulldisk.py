"""R4, quick: calls that fail, and a file system that is full. `nox -s torture -- R4 --size full` does every point."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.registry.making import new_repository
from tests.torture.fulldisk import QUICK, check_message, check_no_second_fsync, fail, fill, missing_namespace
from tests.torture.injection import Traced, missing
from tests.torture.sigkill import RegistryUnderTest
from tests.torture.verify import Broken


@pytest.mark.skipif(bool(missing()), reason=missing())
@pytest.mark.parametrize("operation", QUICK)
def test_call_that_fails_leaves_the_old_state_and_a_clear_message(tmp_path: Path, operation: str) -> None:
    tally = fail(RegistryUnderTest(tmp_path, operation), QUICK[operation])
    assert tally.corrupt == []
    assert tally.refused > tally.tried / 2


@pytest.mark.skipif(bool(missing_namespace()), reason=missing_namespace())
@pytest.mark.parametrize("operation", QUICK)
def test_full_file_system_leaves_the_old_state_and_space_makes_it_work(tmp_path: Path, operation: str) -> None:
    tally = fill(tmp_path, operation, [0, 1, 2, 3, 5, 8, 13, 21, 34, 55])
    assert tally.corrupt == []
    assert tally.refused


@pytest.mark.skipif(bool(missing()), reason=missing())
@pytest.mark.parametrize(("error", "next_step"), [("ENOSPC", "free some space"), ("EIO", "check the disk")])
def test_command_says_it_and_exits_with_4(tmp_path: Path, error: str, next_step: str) -> None:
    repository = new_repository(tmp_path / "dogs")
    command = [sys.executable, "-m", "cns_cli", "tag", "v1"]
    traced = Traced(command, repository.folder, cwd=repository.root)
    points = traced.points(("fsync",))
    repository.move_ref("refs/tags/v1", repository.head().commit, None, author="", time=0, message="deleted")
    ended = traced.inject(points[0], f"error={error}")
    assert ended.code == 4
    assert ended.out == ""
    assert "cannot fsync" in ended.err
    assert next_step in ended.err
    assert "Traceback" not in ended.err
    assert repository.tags() == {}


def test_second_fsync_of_a_file_is_caught() -> None:
    lines = "1 fsync(3</r/.cns/a>) = -1 EIO (Input/output error) (INJECTED)\n1 fsync(3</r/.cns/a>) = 0\n"
    with pytest.raises(Broken, match="tried again"):
        check_no_second_fsync(lines)
    check_no_second_fsync(lines.splitlines()[0])


def test_message_that_says_nothing_is_caught() -> None:
    for said in ("Traceback (most recent call last):", "cannot write '/r/.cns/a': No space left on device\ntry again"):
        with pytest.raises(Broken):
            check_message(said, "ENOSPC")
    check_message("cannot write '/r/.cns/a': No space left on device\nfree some space, then …", "ENOSPC")
