"""A registry on a disk that may not be written still answers; what it cannot keep is said (issue 18)."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cns_cli.porcelain.check import check
from cns_cli.porcelain.doctor import doctor
from cns_cli.porcelain.options import CheckOptions
from cns_cli.progress import NullProgress
from registry import trust

NOBODY = 65534


@pytest.fixture
def read_only(_learned: Path) -> Iterator[Path]:
    """The registry `learned`, where this user may write nothing."""
    with tempfile.TemporaryDirectory(prefix="cns-read-only-") as parent:
        folder = Path(shutil.copytree(_learned, Path(parent) / "dogs"))
        base = Path(shutil.copytree(_base_of(folder), Path(parent) / "base"))
        config = folder / ".cns" / "config.toml"
        config.write_text(config.read_text().replace(str(_base_of(folder)), str(base)))
        places = [Path(parent), *Path(parent).rglob("*")]
        for path in places:
            path.chmod(0o555 if path.is_dir() else 0o444)
        as_root = os.geteuid() == 0
        if as_root:
            os.seteuid(NOBODY)  # to whom rights apply
        try:
            yield folder
        finally:
            if as_root:
                os.seteuid(0)
            for path in places:
                path.chmod(0o755 if path.is_dir() else 0o644)


def _base_of(folder: Path) -> Path:
    line = next(one for one in (folder / ".cns/config.toml").read_text().splitlines() if one.startswith("source"))
    return Path(line.partition('"')[2].rstrip('"'))


def test_check_answers_and_says_that_it_kept_no_score(read_only: Path) -> None:
    trust.allow([read_only])
    try:
        result = check(CheckOptions(start=read_only, images=3, max_drop={"": 2.0}), NullProgress())
    finally:
        trust.allow([])
    assert result.outcome == "kept"
    assert result.images_made > 0
    (said,) = (one for one in result.warnings if "not stored" in one)
    assert "ermission denied" in said or "ead-only" in said
    assert any(sign.about == "rights" and sign.level == "bad" for sign in doctor(read_only).signs)
