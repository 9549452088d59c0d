"""A check in several processes, and in parts on several machines: the scores of one process, to the last bit."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cns.errors import MethodError
from cns_cli.porcelain.answers import CheckResult
from cns_cli.porcelain.check import check
from cns_cli.porcelain.clone import clone
from cns_cli.porcelain.gate import run as gate
from cns_cli.porcelain.options import CheckOptions, ReportOptions, Request
from cns_cli.porcelain.pull import pull
from cns_cli.porcelain.push import push
from cns_cli.porcelain.remote import add_remote
from cns_cli.porcelain.report import report
from cns_cli.porcelain.scoring import units
from cns_cli.porcelain.scoring.units import Pool
from cns_cli.progress import NullProgress
from registry.refs import EVALUATIONS
from registry.repository import Repository


def run(folder: Path, **changes: Any) -> CheckResult:
    return check(CheckOptions(start=folder, **{"images": 2, "max_drop": {"": 2.0}, "device": "cpu", **changes}))


def scores(folder: Path) -> Mapping[str, str]:
    """Every stored evaluation, by content."""
    return Repository(folder).refs.all(EVALUATIONS)


@pytest.fixture(scope="module")
def alone(_learned: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CheckResult]:
    """A copy of `learned` that one process checked, and what it found."""
    folder = tmp_path_factory.mktemp("alone") / "registry"
    shutil.copytree(_learned, folder)
    return folder, run(folder)


def test_several_processes_find_what_one_finds_to_the_last_bit(
    learned: Path, alone: tuple[Path, CheckResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forked here, since a fresh process loads its libraries for seconds."""
    monkeypatch.setattr(gate, "Pool", partial(Pool, method="fork"))
    monkeypatch.setattr(gate.CheckRun, "_open", None)  # nothing is left for this process
    found = run(learned, jobs=2)
    folder, known = alone
    assert scores(learned) == scores(folder)
    assert (found.rows, found.images_made) == (known.rows, known.images_made)


def test_two_shards_on_two_machines_are_joined_by_push_and_pull(
    learned: Path, alone: tuple[Path, CheckResult], tiny_base: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("shared")
    other = root / "other"
    add_remote(learned, "origin", str(root / "remote"))
    push(Request(start=learned), "origin", ["main"], NullProgress())
    clone(Request(start=root), str(root / "remote"), other, NullProgress(), base=str(tiny_base))
    one, two = run(learned, shard=(1, 2)), run(other, shard=(2, 2))
    for part in (one, two):
        assert part.part is not None
        assert 0 < part.part.stored < part.part.evaluations
        assert (part.rows, part.outcome, part.passed) == ((), "inconclusive", False)
    push(Request(start=learned), "origin", ["main"], NullProgress())
    pull(Request(start=other), "origin", NullProgress())
    joined = run(other)
    folder, known = alone
    assert scores(other) == scores(folder)
    assert joined.rows == known.rows
    assert (one.images_made + two.images_made, joined.images_made) == (known.images_made, 0)


def test_every_part_says_when_nothing_is_left(alone: tuple[Path, CheckResult]) -> None:
    part = run(alone[0], shard=(2, 2)).part
    assert part is not None
    assert part.stored == part.evaluations


def test_a_registry_that_cannot_be_written_is_checked_by_one_process(
    learned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(units, "Workers", None)
    assert run(learned, jobs=2, images=1).rows


def test_rays_workers_spread_no_base(learned: Path) -> None:
    with pytest.raises(MethodError, match="a worker of Ray's has one GPU"):
        run(learned, engine="ray", device="balanced", dtype="float32")


def test_the_parts_of_a_report_are_the_whole(learned: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    found = []
    for shard in (None, (1, 2), (2, 2)):
        folder = tmp_path_factory.mktemp("part") / "registry"
        shutil.copytree(learned, folder)
        report(ReportOptions(start=folder, fill=True, pictures=False, device="cpu", shard=shard))
        found.append(dict(scores(folder)))
    whole, one, two = found
    assert whole == {**one, **two}
    assert whole not in (one, two)
