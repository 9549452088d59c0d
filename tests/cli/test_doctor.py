"""`cns doctor`: a healthy registry, and each thing that can be wrong with the machine."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cns_cli.porcelain.health.disk import installed_revisions, schema_state
from registry import locks
from registry.objects import Base
from registry.repository import Repository
from tests.cli.conftest import modules_after

PIPELINE = Path(__file__).resolve().parents[2] / "cns" / "bases" / "emoji-64-v1"


@pytest.fixture
def healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A registry on a small copy of a base: its configs are real, its weights a few bytes."""
    from cns.files.bases import file_digests

    source = tmp_path / "base"
    for path in PIPELINE.rglob("*.json"):
        (source / path.relative_to(PIPELINE)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, source / path.relative_to(PIPELINE))
    for part in ("unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model"):
        (source / f"{part}.safetensors").write_bytes(part.encode())
    base = Base("emoji-64", file_digests(source), {}, 20)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=10**12, used=0, free=10**12))
    return Repository.init(tmp_path, base, {"base.source": str(source)}, author="ann", time=5)


def signs(cns: Any) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for sign in json.loads(cns("doctor", "--json").stdout)["signs"]:
        found.setdefault(sign["about"], []).append(sign)
    return found


def worst(cns: Any, about: str) -> dict[str, Any]:
    return max(signs(cns)[about], key=lambda sign: ["ok", "warn", "bad"].index(sign["level"]))


def test_healthy_registry_has_nothing_bad_and_is_left_alone(healthy: Repository, cns: Any) -> None:
    before = {path: path.stat().st_mtime_ns for path in healthy.folder.rglob("*")}
    result = cns("doctor")
    assert result.exit_code == 0, result.output
    assert all(line.startswith("ok  ") for line in result.stdout.splitlines())
    for part in (
        "cns 0",
        "torch ",
        "SQLite: 3.",
        "GB free",
        "format 1",
        "HEAD on main",
        "lock: free",
        "nothing recorded",
    ):
        assert part in result.stdout
    assert {path: path.stat().st_mtime_ns for path in healthy.folder.rglob("*")} == before


def test_without_a_registry_it_tells_of_the_machine(cns: Any) -> None:
    result = cns("doctor")
    assert result.exit_code == 0
    assert "warn  registry: no registry in" in result.stdout
    assert "-> cns init" in result.stdout
    assert json.loads(cns("doctor", "--json").stdout)["folder"] is None


def test_loads_neither_torch_nor_mlflow(healthy: Repository, tmp_path: Path) -> None:
    assert not modules_after(["doctor"], tmp_path) & {"torch", "diffusers", "transformers", "mlflow", "pandas", "PIL"}


def test_other_base_is_bad(healthy: Repository, cns: Any, tmp_path: Path) -> None:
    (tmp_path / "base" / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"other")
    assert cns("doctor").exit_code == 4
    assert "unet/diffusion_pytorch_model.safetensors" in worst(cns, "base model")["found"]
    shutil.rmtree(tmp_path / "base")
    assert worst(cns, "base model")["level"] == "bad"
    (healthy.folder / "config.toml").write_text("")
    assert "does not say where it is" in worst(cns, "base model")["found"]


@pytest.mark.parametrize(("free", "level"), [(10**12, "ok"), (10**8, "warn"), (10**6, "bad")])
def test_free_space(healthy: Repository, cns: Any, monkeypatch: pytest.MonkeyPatch, free: int, level: str) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    assert worst(cns, "free space")["level"] == level


def test_lock_holder_is_named(healthy: Repository, cns: Any) -> None:
    code = (
        "import sys; from registry.locks import hold; from pathlib import Path\n"
        "with hold(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(healthy.folder / "lock")]
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        found = worst(cns, "lock")
        holder.communicate()
    assert found["level"] == "warn"
    assert f"process {holder.pid} (" in found["found"]
    assert worst(cns, "lock")["level"] == "ok"


def test_locks_of_others_and_lists_that_cannot_be_read(tmp_path: Path) -> None:
    lock, listed = tmp_path / "lock", tmp_path / "locks"
    lock.touch()
    inode = lock.stat().st_ino
    listed.write_text(
        f"1: FLOCK  ADVISORY  WRITE 1 08:01:{inode + 1} 0 EOF\n2: -> FLOCK ADVISORY WRITE 7 08:01:{inode} 0 EOF\n"
    )
    assert locks.holder(lock, listed) is None
    listed.write_text(f"1: FLOCK  ADVISORY  WRITE 999999999 08:01:{inode} 0 EOF\n")
    assert locks.holder(lock, listed) == "process 999999999"
    assert locks.holder(lock, tmp_path / "none") is None


def test_folders_that_cannot_be_written(healthy: Repository, cns: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = {healthy.folder / "refs" / "heads", healthy.folder / "logs" / "HEAD"}
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) not in refused and access(path, mode))
    found = worst(cns, "rights")
    assert found["level"] == "bad"
    assert ".cns/refs/heads" in found["found"]
    assert ".cns/logs/HEAD" in found["found"]


@pytest.mark.parametrize(("content", "fix"), [(None, "cns fsck --rebuild"), (b"cns registry 2\n", "pip install")])
def test_format_that_is_gone_or_newer(healthy: Repository, cns: Any, content: bytes | None, fix: str) -> None:
    path = healthy.folder / "format"
    path.unlink() if content is None else path.write_bytes(content)
    assert cns("doctor").exit_code == 4
    assert worst(cns, "format")["fix"].startswith(fix)


def test_damage_that_it_meets_is_bad_and_no_crash(healthy: Repository, cns: Any) -> None:
    (healthy.folder / "HEAD").write_text("x")
    result = cns("doctor")
    assert result.exit_code == 4
    assert "HEAD is corrupt" in result.stdout
    assert "Traceback" not in result.stderr


class TestMlflow:
    def table(self, path: Path, revision: str) -> None:
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
            connection.execute("INSERT INTO alembic_version VALUES (?)", [revision])
        connection.close()

    def test_the_newest_revision_is_the_one_that_mlflow_itself_makes(self, tmp_path: Path) -> None:
        from registry.mirror.server import MlflowStore

        store = MlflowStore(tmp_path, None)
        store.connect()
        assert schema_state(store.file)[0] == "ok"

    def test_behind_ahead_and_damaged(self, healthy: Repository, cns: Any) -> None:
        known, newest = installed_revisions()
        path = healthy.folder / "mlflow.db"
        self.table(path, sorted(known - {newest})[0])
        found = worst(cns, "MLflow")
        assert (found["level"], found["fix"]) == ("warn", "cns mlflow sync")
        assert newest in found["found"]
        path.unlink()
        self.table(path, "ffffffffffff")
        assert worst(cns, "MLflow")["fix"] == "pip install --upgrade mlflow"
        path.write_bytes(b"garbage" * 100)
        assert worst(cns, "MLflow")["level"] == "bad"

    def test_a_server_is_not_asked(self, healthy: Repository, cns: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        healthy.set_config("mlflow.tracking_uri", "http://127.0.0.1:9")
        found = worst(cns, "MLflow")["found"]
        assert found == "is at http://127.0.0.1:9, by mlflow.tracking_uri; what it holds, cns mlflow sync says"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:s3cret@127.0.0.1:8")
        found = worst(cns, "MLflow")["found"]
        assert found == "is at http://127.0.0.1:8, by MLFLOW_TRACKING_URI; what it holds, cns mlflow sync says"

    def test_a_write_ahead_log_is_a_warning(self, healthy: Repository, cns: Any) -> None:
        with sqlite3.connect(healthy.folder / "index.db") as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE x (y)")
        connection.close()
        found = worst(cns, "SQLite")
        assert found["level"] == "warn"
        assert "journal_mode = DELETE" in found["fix"]


def test_the_command_that_leaves_wal_mode_is_quoted_for_a_shell(
    healthy: Repository, cns: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "my work"
    place.mkdir()
    healthy.folder.rename(place / ".cns")
    monkeypatch.chdir(place)
    (place / ".cns" / "mlflow.db").write_bytes(bytes(18) + b"\x02")
    fix = next(sign["fix"] for sign in signs(cns)["SQLite"] if sign["level"] == "warn")
    assert shlex.split(fix) == ["sqlite3", str(place / ".cns" / "mlflow.db"), "PRAGMA journal_mode = DELETE"]


def test_leftovers_are_named_with_the_command_that_removes_them(healthy: Repository, cns: Any) -> None:
    left = healthy.folder / "objects" / "ab" / ".tmp-1-2"
    left.touch()
    half = healthy.root / ".cns.tmp-1-2"
    half.mkdir()
    assert worst(cns, "leftovers")["level"] == "ok", "both may be of a write that is going on"
    for path in (left, half):
        os.utime(path, (1, 1))
    found = [sign for sign in signs(cns)["leftovers"] if sign["level"] == "warn"]
    assert [sign["fix"] for sign in found] == ["cns gc", "cns gc"]
    assert ".cns.tmp-1-2" in found[0]["found"]
    assert "objects/ab/.tmp-1-2" in found[1]["found"]
    assert cns("gc").exit_code == 0
    assert worst(cns, "leftovers")["level"] == "ok"


def test_what_is_in_progress_is_told(healthy: Repository, cns: Any) -> None:
    from registry import bisect_state
    from registry.pending import Pending

    Pending(healthy.folder).save("rex", "ab" * 4, {"steps": 3}, b"state")
    bisect_state.save(healthy.folder, bisect_state.BisectState("main", healthy.head().commit))
    found = signs(cns)
    assert found["resume"][0]["level"] == "warn"
    assert "'rex'" in found["resume"][0]["found"]
    assert found["resume"][0]["fix"] == "cns add rex --resume"
    assert found["bisect"][0]["found"] == "a bisection is going on"
    assert cns("doctor").exit_code == 0
    (healthy.folder / "bisect.json").write_text("x")
    for path in (healthy.folder / "resume").iterdir():
        path.write_bytes(b"x")
    found = signs(cns)
    assert "state of 'rex'" in found["resume"][0]["found"]
    assert "bisect" in found


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ("flags\t\t: fpu avx2 avx512_bf16\n", "cns config dtype bfloat16"),
        ("Features\t: fp asimd bf16\n", "cns config dtype bfloat16"),
        ("flags\t\t: fpu avx2\nmodel name: bf16\n", "would be slower"),
    ],
)
def test_it_says_whether_the_processor_computes_bfloat16(
    healthy: Repository, cns: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, facts: str, said: str
) -> None:
    (tmp_path / "cpuinfo").write_text(facts)
    monkeypatch.setattr("cns_cli.porcelain.doctor.CPU_FACTS", tmp_path / "cpuinfo")
    (sign,) = signs(cns)["CPU"]
    assert said in sign["found"]
    monkeypatch.setattr("cns_cli.porcelain.doctor.CPU_FACTS", tmp_path / "none")
    assert "CPU" not in signs(cns)
