"""One round trip through the registry's own MLflow file; what a mirror holds is tested with the registry."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.slow
def test_sync_then_restore_brings_every_id_back(lineage: Any, cns: Any) -> None:
    lineage.add("rex")
    before = cns("log", "--json").stdout
    first = json.loads(cns("mlflow", "sync", "--json").stdout)
    assert len(first["commits"]) == 2
    assert first["tracking_uri"].startswith("sqlite:///")
    again = cns("mlflow", "sync")
    assert again.stdout.startswith("everything was recorded already\n")

    shutil.rmtree(lineage.repo.folder / "objects")
    broken = cns("log")
    assert broken.exit_code == 4
    assert broken.stderr.endswith("  try: cns mlflow restore\n")
    restored = cns("mlflow", "restore")
    assert restored.exit_code == 0
    assert restored.stdout.startswith("MLflow held ")
    assert cns("log", "--json").stdout == before


def test_nothing_to_restore_from(cns: Any, tmp_path: Path) -> None:
    result = cns("mlflow", "restore")
    assert result.exit_code == 8
    assert "mlflow.db" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_away(lineage: Any, cns: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    result = cns("mlflow", "sync")
    assert result.exit_code == 8
    assert result.stdout == ""
    assert "127.0.0.1:9" in result.stderr
