"""Registries made through the registry's own API, without a model: what the shell shows needs no weights."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cns_cli.main import app
from registry.objects import Base, Blob, Compose, Concept, Record, References, Tree
from registry.repository import Committed, Repository
from registry.trees import composing, trained_in, with_concept, without_concept
from tests.cli.documents import asks_for_json, follow_schema

ROOT = Path(__file__).resolve().parents[2]
NOON = 1_780_000_000  # 2026-05-28 20:26:40 UTC
PNG = b"\x89PNG\r\n\x1a\n"


def run(*words: str) -> Result:
    """Run one command line in the current folder, as a user would; a JSON document must follow its schema."""
    result = CliRunner().invoke(app, list(words), prog_name="cns")
    if asks_for_json(words):
        follow_schema(words, result)
    return result


def modules_after(words: list[str], folder: Path, code: int = 0) -> set[str]:
    """Run one command line in a process of its own and return the names of the packages that it loaded.

    Args:
        words: What follows `cns`.
        folder: Where it runs.
        code: How it must end.
    """
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.argv[1:] = {words!r}; import cns_cli.main\n"
        "try: cns_cli.main.main()\n"
        "finally: sys.stderr.write('\\n' + ' '.join(name.split('.')[0] for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == code, done.stderr
    return set(done.stderr.splitlines()[-1].split())


class Lineage:
    """A registry and the few things that tests do to it; every commit is a minute after the one before."""

    def __init__(self, folder: Path) -> None:
        digest = hashlib.sha256(b"a weight").hexdigest()
        matrix = {"shape": [4, 4], "sha256": digest, "exponent": -16}
        base = Base("emoji-64", {"unet": {"config.json": digest}}, {"mid.attn2.to_k": matrix}, 20_000_000)
        self.time = NOON
        self.repo = Repository.init(folder, base, {"base.source": "emoji-64"}, author="ann", time=self.time)

    def add(
        self, name: str, *, noun: str = "dog", metrics: dict[str, float] | None = None, message: str = "", **extra: Any
    ) -> Committed:
        """Commit a concept that was trained on what HEAD's tree is for it."""
        trained_on = self.repo.objects.put(trained_in(self.repo.tree_of("HEAD"), name))
        concept = self.concept(name, noun=noun, trained_on=trained_on)
        figures = {"neurons": 34567, "share_kv": 0.0581, "share_denoiser": 0.0013, "bytes": 51234} | (metrics or {})
        preview = self.repo.objects.put(Blob(PNG + name.encode()))
        data = {"metrics": figures, "previews": {"sheet": preview}, "seed": 0, "device": "cpu", **extra}
        return self.commit(
            "add", name, message or f"add {name}", Record(data), lambda tree: with_concept(tree, name, concept)
        )

    def remove(self, name: str) -> Committed:
        return self.commit("remove", name, f"remove {name}", None, lambda tree: without_concept(tree, name))

    def concept(self, name: str, *, noun: str = "dog", trained_on: str, token: str | None = None) -> str:
        """Store a concept with blobs of its own and return its id."""
        put = self.repo.objects.put
        blobs = [put(Blob(f"{name} {part} {self.time}".encode())) for part in ("embedding", "mask", "delta")]
        references = put(References(None, (None,), 1, 64, {}))
        return put(Concept(name, noun, (token or f"<{name}>",), *blobs, {"templates": None}, references, trained_on))

    def compose(self, compose: Compose) -> Committed:
        return self.commit("compose", "compose", f"compose {compose}", None, lambda tree: composing(tree, compose))

    def commit(
        self, kind: str, name: str, message: str, record: Record | None, change: Callable[[Tree], Tree]
    ) -> Committed:
        self.time += 60
        seen = self.repo.head().commit
        who: dict[str, Any] = {"message": message, "author": "ann", "time": self.time}
        return self.repo.commit(kind=kind, record=record, change=change, seen=seen, keep_as=name, **who)


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset what the shell reads. Setting first makes pytest undo it: MLflow sets its variable whenever it is used."""
    for variable in ("CNS_AUTHOR", "SOURCE_DATE_EPOCH", "MLFLOW_TRACKING_URI", "NO_COLOR"):
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)


@pytest.fixture
def lineage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lineage:
    """A fresh registry in the current folder."""
    monkeypatch.chdir(tmp_path)
    return Lineage(tmp_path)


@pytest.fixture
def alone(lineage: Lineage) -> None:
    """No MLflow and no base model: a commit stands without the one, and is answered without the other's drift."""
    lineage.repo.set_config("mlflow.tracking_uri", "http://127.0.0.1:9")
    lineage.repo.set_config("base.source", str(lineage.repo.root / "no-base"))


@pytest.fixture
def cns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`run` in the test's own folder; the result has exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    return run
