"""R1 and R3 of sharing, quick: `nox -s torture -- R1 R3 --size full` does every point."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from registry.sharing import pack
from tests.torture.injection import missing
from tests.torture.sharing import QUICK, Judged, kill_at_calls, kill_during_writes, power_cuts
from tests.torture.transfers import OPERATIONS


@pytest.fixture(autouse=True)
def _small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the size of packs, which the harness sets for the processes that it starts, back afterwards."""
    monkeypatch.setattr(pack, "PACK_BYTES", pack.PACK_BYTES)


@pytest.mark.skipif(bool(missing()), reason=missing())
@pytest.mark.parametrize("operation", OPERATIONS)
def test_killed_process_harms_nothing(tmp_path: Path, operation: str) -> None:
    judged = Judged(tmp_path, operation)
    kill_at_calls(judged, QUICK)
    assert judged.wrong == []
    assert judged.tried >= QUICK


@pytest.mark.parametrize("operation", OPERATIONS)
def test_torn_write_harms_nothing(tmp_path: Path, operation: str) -> None:
    judged = Judged(tmp_path, operation)
    kill_during_writes(judged, QUICK)
    assert judged.wrong == []
    assert judged.tried


@pytest.mark.parametrize("operation", OPERATIONS)
def test_power_cut_harms_nothing(tmp_path: Path, operation: str) -> None:
    judged = Judged(tmp_path, operation)
    power_cuts(judged, QUICK)
    assert judged.wrong == []
    assert judged.tried > QUICK


def test_a_push_whose_pack_is_not_synced_is_caught(tmp_path: Path, monkeypatch: Any) -> None:
    """The harness finds a remote that would acknowledge what a power cut takes away."""
    from tests.torture import sharing

    deaf = sharing.Disk
    monkeypatch.setattr(sharing, "Disk", lambda root: deaf(root, frozenset({"file", "folder"})))
    judged = Judged(tmp_path, "push")
    power_cuts(judged, QUICK)
    assert judged.wrong
