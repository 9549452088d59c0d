"""The quick sizes of R5, R8 and R11, each with a control that shows that its harness sees what it looks for."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from registry import fsio, reflog, repository
from tests.registry.making import new_repository, put_concept
from tests.torture import flips, gcraces, rebuild


def test_every_flip_and_every_cut_is_found_and_refused() -> None:
    trials = flips.run("quick")
    assert [(trial.what, trial.note) for trial in trials if trial.lost or trial.corrupt] == []
    assert sum(trial.tried for trial in trials) >= 2000


def test_flips_of_a_log_without_checks_would_be_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflog, "_check", lambda ref, text: b"0" * 16)
    monkeypatch.setitem(flips.HEADER_STEP, "quick", 101)
    assert flips.flip_names(flips.make(tmp_path), "quick").missed


def test_no_race_of_collection_and_writers_loses_anything() -> None:
    (trial,) = gcraces.run("quick")
    assert trial.corrupt == 0, trial.note
    refused, removed = (int(number) for number in re.findall(r"\d+", trial.note))
    assert refused < trial.tried, "no writer was in time"
    assert removed > 0, "the collections had nothing to do"


def test_collection_that_only_looks_at_the_time_would_lose_a_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: a removal that looks first, a writer that does not look again, and the put between the two."""
    looked, put = tmp_path / "looked", tmp_path / "put"

    def wait_for(path: Path) -> None:
        for _ in range(3000):
            if path.exists():
                return
            time.sleep(0.01)
        raise AssertionError(path)

    def looks_first(path: Path, before: float) -> bool:
        if path.stat().st_mtime >= before:
            return False
        looked.touch()
        wait_for(put)
        os.unlink(path)
        return True

    def prepare(made: repository.Repository) -> gcraces.Writer:
        gcraces.over_garbage(made)

        def write(mine: repository.Repository) -> None:
            wait_for(looked)
            concept = put_concept(mine.objects, "zoe", mine.commit_of(mine.head().commit).tree)
            put.touch()
            gcraces.commit(mine, concept)

        return write

    monkeypatch.setitem(gcraces.RACE_KINDS, "over garbage", prepare)
    monkeypatch.setattr(fsio, "discard", looks_first)
    monkeypatch.setattr(repository, "check_tree", lambda tree, store: None)
    monkeypatch.setattr(repository, "check_brought", lambda *_: None)
    monkeypatch.setattr(gcraces, "closure", lambda *_: None)
    wrote, removed, fault = gcraces.race(tmp_path / "registry", "over garbage", gcraces.random.Random(1))
    assert (wrote, removed) == (gcraces.DONE, 1)
    assert "is not in the store" in fault


@pytest.mark.parametrize("change", list(rebuild.CHANGES))
def test_index_is_made_again_from_the_objects(tmp_path: Path, change: str) -> None:
    made = new_repository(tmp_path)
    made.index.rebuild([made.head().commit])
    made.index.close()
    rebuild.CHANGES[change](made.folder / "index.db")
    assert made.index.rebuild([made.head().commit])
    assert made.index.covers(made.head().commit)


@pytest.mark.slow
@pytest.mark.parametrize("change", ["cut to half its pages", "overwritten by noise"])
def test_mirror_is_made_again_from_the_objects(tmp_path: Path, change: str) -> None:
    template = rebuild.make(tmp_path / "registry")
    assert rebuild.damage(template, tmp_path, "mlflow.db", change) == ""
