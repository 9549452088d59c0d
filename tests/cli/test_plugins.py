"""What the command line says about names of other packages."""

from __future__ import annotations

import pytest

from tests.cli.conftest import run
from tests.plugins import install_example


def test_help_names_what_is_installed(monkeypatch, tmp_path):
    plain = {command: run(command, "--help").stdout for command in ("add", "check")}
    assert all("Installed:" not in text for text in plain.values())
    install_example(monkeypatch, tmp_path)
    shown = {command: " ".join(run(command, "--help").stdout.split()) for command in ("add", "check")}
    assert "Installed: spread." in shown["add"]
    assert "Installed: elastic." in shown["add"]
    assert "Installed: nearest." in shown["check"]


@pytest.mark.parametrize(
    "words",
    [
        ("--metric", "nearest"),
        ("--metric", "id,nearest"),
        ("--max-drop", "nearest=0.1"),
        ("--min", "nearest=0.1"),
    ],
)
def test_a_metric_of_another_package_is_taken_where_it_is_installed(words, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    refused = run("check", *words)
    assert refused.exit_code == 2
    assert "'nearest' is no metric; expected id," in " ".join(refused.stderr.split())
    install_example(monkeypatch, tmp_path / "site")
    assert run("check", *words).exit_code == 4  # no registry here: the words were understood


def test_bisect_takes_such_a_metric_too(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    words = ("bisect", "start", "HEAD", "HEAD~1", "--metric", "rex.nearest", "--below", "0.5")
    assert run(*words).exit_code == 2
    install_example(monkeypatch, tmp_path / "site")
    assert run(*words).exit_code == 4
