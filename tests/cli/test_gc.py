"""`cns gc`: ages, what it says, and that a dry run changes nothing."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from registry.objects import Blob


def old_blob(lineage: Any, days: float, data: bytes = b"loose") -> Any:
    path = lineage.repo.objects.path(lineage.repo.objects.put(Blob(data)))
    stamp = path.stat().st_mtime - days * 86_400
    os.utime(path, (stamp, stamp))
    return path


def test_removes_what_nothing_reaches_and_says_so(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    path = old_blob(lineage, 15)
    young = old_blob(lineage, 13, b"young")
    planned = cns("gc", "--dry-run")
    assert planned.exit_code == 0
    assert "would remove 1 object: 1 blob\n" in planned.stdout
    assert planned.stderr == "  next: cns gc   (remove them)\n"
    assert path.exists()
    size = path.stat().st_size
    result = cns("gc")
    assert result.stdout.startswith("removed 1 object: 1 blob\n")
    assert f"freed {size} B\n" in result.stdout
    assert "12 objects in use, 1 not in use but too young to go" in result.stdout
    assert not path.exists()
    assert young.exists()
    assert cns("fsck").exit_code == 0


@pytest.mark.parametrize(
    ("age", "gone"), [("20d", 0), ("2w", 1), ("3d", 2), ("47h", 3), ("1m", 3), ("30s", 3), ("now", 3)]
)
def test_ages(lineage: Any, cns: Any, age: str, gone: int) -> None:
    for days in (15, 4, 2):
        old_blob(lineage, days, str(days).encode())
    answer = json.loads(cns("gc", "--prune", age, "--json").stdout)
    assert answer["removed"] == ({"blob": gone} if gone else {})
    assert answer["young"] == 3 - gone
    assert answer["reachable"] == 3
    assert not answer["dry_run"]


@pytest.mark.parametrize("age", ["", "soon", "3", "-1d", "1e9d", "99999999d", "3 d"])
def test_other_ages_are_refused(lineage: Any, cns: Any, age: str) -> None:
    result = cns("gc", "--prune", age)
    assert result.exit_code == 2
    assert "14d" in result.stderr


def test_tells_of_evaluations_moves_leftovers_and_cache(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    (lineage.repo.folder / "cache").mkdir()
    (lineage.repo.folder / "cache" / "latents").write_bytes(b"12345")
    left = lineage.repo.folder / "objects" / "ab" / ".tmp-1-2"
    left.write_text("x")
    os.utime(left, (1, 1))
    text = cns("gc").stdout
    assert "removed 1 leftover of interrupted writes\n" in text
    assert ".cns/cache holds 5 B; it is left alone, and may be deleted\n" in text
    assert not left.exists()


def test_refuses_while_something_is_damaged(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    path = old_blob(lineage, 15)
    head = lineage.repo.folder / "logs" / "HEAD"
    head.write_bytes(b"x" + head.read_bytes()[1:])
    result = cns("gc")
    assert result.exit_code == 4
    assert "nothing was removed" in result.stderr
    assert result.stderr.endswith("  try: cns fsck\n")
    assert path.exists()
