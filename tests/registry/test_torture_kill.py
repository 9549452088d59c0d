"""R1, quick: SIGKILL at about a hundred system calls of real processes. `nox -s torture -- R1 --size full` does all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture import operations
from tests.torture.injection import missing
from tests.torture.sigkill import QUICK, RegistryUnderTest, control, kill_at_calls, kill_during_writes

needs_strace = pytest.mark.skipif(bool(missing()), reason=missing())


@needs_strace
@pytest.mark.parametrize("operation", QUICK)
def test_killed_process_loses_nothing(tmp_path: Path, operation: str) -> None:
    tally = kill_at_calls(RegistryUnderTest(tmp_path, operation), QUICK[operation])
    assert tally.corrupt == tally.lost == []
    assert tally.tried >= min(QUICK[operation], 5)
    if operation == "three commits and checkouts":
        assert tally.acknowledged > tally.tried  # so that something could have been lost


@needs_strace
def test_writer_in_place_is_caught(tmp_path: Path) -> None:
    tally = control(tmp_path, "/refs/")
    assert tally.corrupt + tally.lost


@pytest.mark.parametrize("operation", [name for name in operations.OPERATIONS if name in QUICK])
def test_write_torn_in_the_middle_loses_nothing(tmp_path: Path, operation: str) -> None:
    """In forks of this process: it needs no tracer."""
    tally = kill_during_writes(RegistryUnderTest(tmp_path, operation), 12)
    assert tally.corrupt == tally.lost == []
    assert tally.tried
