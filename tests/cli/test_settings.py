from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cns_cli.settings import SettingsError, author, commit_time, request_settings


def test_author_by_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "carl")
    assert author({}) == "carl"
    assert author({"user": {"name": "bea"}}) == "bea"
    monkeypatch.setenv("CNS_AUTHOR", " ann ")
    assert author({"user": {"name": "bea"}}) == "ann"


def test_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    import getpass

    def nobody() -> str:
        raise OSError("no such user id")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert author({}) == "unknown"


def test_config_of_the_registry_is_read(lineage: Any, tmp_path: Path) -> None:
    lineage.repo.set_config("user.name", "bea")
    found = request_settings()
    assert found == {"start": tmp_path, "author": "bea", "time": None, "mlflow_uri": None}


def test_a_config_of_the_wrong_shape_is_no_author(lineage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lineage.repo.set_config("user", "bea")
    monkeypatch.setenv("LOGNAME", "carl")
    assert request_settings()["author"] == "carl"


@pytest.mark.parametrize("text", ["noon", "-1", "1.5", "٣", "9" * 40])
def test_a_time_that_cannot_be_meant(text: str, monkeypatch: pytest.MonkeyPatch, cns: Any, lineage: Any) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
    with pytest.raises(SettingsError) as error:
        commit_time()
    assert (error.value.variable, error.value.value) == ("SOURCE_DATE_EPOCH", text)
    result = cns("rm", "rex")
    assert result.exit_code == 2
    assert "  try: unset SOURCE_DATE_EPOCH" in result.stderr
