"""R6, quick: 8 processes with 25 commits each, and readers. `nox -s torture -- R6 --size full`: 32 x 100."""

from __future__ import annotations

from pathlib import Path

from tests.torture.concurrency import SIZES, run_together


def test_every_commit_of_a_crowd_is_kept_and_no_reader_sees_half_of_one(tmp_path: Path) -> None:
    committers, count, readers = SIZES["quick"]
    outcome = run_together(tmp_path / "dogs", committers, count, readers)
    assert outcome.corrupt == outcome.lost == []
    assert outcome.commits == committers * count
    assert outcome.reads > readers
