"""A verb looks once: how often a registry is opened, a revision resolved, a photo decoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cns.files import images
from cns_cli.main import app
from cns_cli.porcelain.check import check
from cns_cli.porcelain.options import CheckOptions
from registry.repository import Repository
from tests.porcelain.conftest import add, write_photos


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each of three functions ran."""
    counts: Counter[str] = Counter()

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            counts[name] += 1
            return real(*arguments, **named)

        return call

    monkeypatch.setattr(Repository, "discover", counted("discover", Repository.discover))
    monkeypatch.setattr(Repository, "resolve", counted("resolve", Repository.resolve))
    monkeypatch.setattr(images, "decode", counted("decode", images.decode))
    return counts


def test_a_check_of_stored_scores_opens_the_registry_twice_and_resolves_once(
    learned: Path, calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once for the settings of the request, once for the check."""
    check(CheckOptions(start=learned, images=1, max_drop={"": 2.0}))
    calls.clear()
    monkeypatch.chdir(learned)
    done = CliRunner().invoke(app, ["check", "--images", "1", "--max-drop", "2"])
    assert done.exit_code == 0, done.output
    assert calls == {"discover": 2, "resolve": 1}


def test_an_export_and_a_picture_resolve_their_revision_once(
    learned: Path, calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(learned)
    for words in (["export", "model"], ["generate", "a <rex> dog", "--steps", "2", "-o", "rex.png"]):
        calls.clear()
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
        assert calls["resolve"] == 1
        assert calls["discover"] <= 2


def test_each_photo_is_decoded_once(
    learned: Path, tmp_path_factory: pytest.TempPathFactory, calls: Counter[str]
) -> None:
    folder = write_photos(tmp_path_factory.mktemp("six") / "photos", 7, count=6)
    add(learned, "mug", folder, class_noun="cup")
    assert calls["decode"] == 6
