"""A registry on a disk that may only be read: what looks still answers, what writes says so before it works."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MOUNTED = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && cd "$0" && exec "$@"'


def cns(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder that is mounted for reading alone."""
    command = ["unshare", "-m", "sh", "-c", MOUNTED, str(folder), sys.executable, "-m", "cns_cli", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(autouse=True)
def may_mount(tmp_path: Path) -> None:
    command = ["unshare", "-m", "sh", "-c", MOUNTED, str(tmp_path), "true"]
    if os.name != "posix" or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting needs more rights than there are")


def test_a_check_is_answered_and_says_that_its_scores_are_not_stored(named: Path) -> None:
    one = ("--concept", "rex", "--metric", "clip-i", "--min", "clip-i=-1", "--images", "1", "--seed", "7")
    done = cns(named, "check", *one)
    assert done.returncode == 0, done.stderr
    assert "the scores are not stored" in done.stderr
    assert cns(named, "status").returncode == 0


def test_learning_is_refused_before_anything_is_loaded(named: Path, photos: dict[str, Path]) -> None:
    done = cns(named, "add", "new", str(photos["rex"]), "--class", "dog")
    assert done.returncode not in (0, 1)
    assert "nothing may be written there" in done.stderr
    assert "load" not in done.stderr
