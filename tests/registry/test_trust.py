"""A `.cns` that came from somebody else: links out of it, another owner, a server that its config names."""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from registry import config, locks, trust
from registry.errors import BadConfig, MlflowUnavailable, NotPlain, ObjectCorrupt, RefCorrupt
from registry.mirror.mirror import MlflowMirror
from registry.mirror.server import MlflowStore
from registry.repository import Repository
from registry.trust import Untrusted
from tests.registry.making import add, new_repository


@pytest.fixture(autouse=True)
def _nothing_trusted() -> Iterator[None]:
    trust.allow([])
    yield
    trust.allow([])


@cache
def _made() -> Path:
    root = Path(tempfile.mkdtemp(prefix="cns-trust-"))
    atexit.register(shutil.rmtree, root)
    add(new_repository(root), "rex")
    return root / ".cns"


def received(folder: Path) -> Path:
    """A registry with one concept; returns its `.cns`."""
    return Path(shutil.copytree(_made(), folder / ".cns"))


def put_link(cns: Path, name: str, outside: Path) -> Path:
    """Replace a part of a registry by a link to a copy of it elsewhere."""
    outside.mkdir(exist_ok=True)
    target = outside / "target"
    place = cns / name
    if place.exists():
        shutil.move(place, target)
    elif name.endswith((".db", "lock")):
        target.write_bytes(b"a file of the user's own")
    else:
        target.mkdir()
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)
    return target


LINKED = (
    "objects", "objects/ab", "refs", "refs/heads", "refs/tags", "logs", "logs/refs", "logs/refs/heads", "cache",
    "mlartifacts", "mlartifacts/1", "mlflow.db", "index.db", "lock", "mlflow.lock", "HEAD", "format", "config.toml",
    "previews",
)  # fmt: skip


@pytest.mark.parametrize("name", LINKED)
def test_link_in_a_registry_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    cns = received(tmp_path / "got")
    outside = put_link(cns, name, tmp_path / "outside")
    before = [(path, path.stat().st_mtime_ns) for path in sorted(outside.parent.rglob("*"))]
    with pytest.raises(Untrusted) as caught:
        Repository(tmp_path / "got")
    assert name.split("/")[0] in caught.value.reason
    assert "CNS_TRUST" in caught.value.hint
    with pytest.raises((Untrusted, NotPlain)):
        MlflowMirror.restore(tmp_path / "got", f"sqlite:///{tmp_path}/none.db")
    assert [(path, path.stat().st_mtime_ns) for path in sorted(outside.parent.rglob("*"))] == before


def test_user_may_keep_objects_on_another_disk(tmp_path: Path) -> None:
    cns = received(tmp_path / "got")
    put_link(cns, "objects", tmp_path / "disk")
    trust.allow([tmp_path / "got"])
    assert add(Repository(tmp_path / "got"), "tom").id
    trust.allow(["*"])
    Repository(tmp_path / "got")
    trust.allow([tmp_path / "other"])
    with pytest.raises(Untrusted):
        Repository(tmp_path / "got")


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: socket.socket(socket.AF_UNIX).bind(str(path))])
def test_pipe_or_socket_is_no_part_of_a_registry(
    tmp_path: Path, make: object, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    cns = received(tmp_path)
    monkeypatch.chdir(cns)
    make(Path("format.new"))  # type: ignore[operator]
    recwarn.clear()
    Path("format.new").replace("format")
    with pytest.raises(Untrusted, match="a pipe, a socket"):
        Repository(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a folder away")
def test_registry_of_another_user_in_a_folder_above_is_not_used(tmp_path: Path) -> None:
    cns = received(tmp_path / "shared")
    os.chown(cns, 12345, 12345)
    below = tmp_path / "shared" / "mine" / "photos"
    below.mkdir(parents=True)
    with pytest.raises(Untrusted, match="user 12345"):
        Repository.discover(below)
    trust.allow([tmp_path / "shared"])
    assert Repository.discover(below).root == (tmp_path / "shared").resolve()


@pytest.mark.parametrize("place", ["object", "ref", "log"])
@pytest.mark.parametrize("kind", ["link", "pipe", "huge"])
def test_file_that_is_not_plain_is_an_error_at_once(tmp_path: Path, place: str, kind: str) -> None:
    cns = received(tmp_path / "got")
    repository = Repository(tmp_path / "got")
    commit = repository.head().commit
    path = {
        "object": repository.objects.path(commit),
        "ref": cns / "refs" / "heads" / "main",
        "log": cns / "logs" / "HEAD",
    }[place]
    content = path.read_bytes()
    path.unlink()
    if kind == "link":
        (tmp_path / "copy").write_bytes(content)
        path.symlink_to(tmp_path / "copy")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        with path.open("wb") as file:
            file.write(content)
            file.truncate(2**40)  # a hole: takes no room
    if place == "object":
        with pytest.raises(ObjectCorrupt):
            repository.objects.read(commit)
        if kind != "huge":
            with pytest.raises(ObjectCorrupt):
                repository.objects.kind_of(commit)
    elif place == "ref":
        with pytest.raises(RefCorrupt):
            repository.head()
    else:
        with pytest.raises(NotPlain):
            repository.reflog()


def test_lock_that_is_a_link_empties_no_file(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"x")
    (tmp_path / "lock").symlink_to(tmp_path / "precious")
    with pytest.raises(NotPlain), locks.hold(tmp_path / "lock"):
        pass
    assert (tmp_path / "precious").read_bytes() == b"x"


def test_server_that_only_the_config_names_is_sent_nothing(tmp_path: Path) -> None:
    received(tmp_path / "got")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        repository = Repository(tmp_path / "got")
        repository.set_config("mlflow.tracking_uri", address)
        with pytest.raises(MlflowUnavailable) as caught:
            MlflowMirror(repository).record(repository.head().commit)
        assert caught.value.tracking_uri == address
        assert f"MLFLOW_TRACKING_URI={address}" in caught.value.hint
        with pytest.raises(TimeoutError):
            server.accept()


def test_database_elsewhere_that_only_the_config_names_is_not_written(tmp_path: Path) -> None:
    received(tmp_path / "got")
    repository = Repository(tmp_path / "got")
    repository.set_config("mlflow.tracking_uri", f"sqlite:///{tmp_path}/mine.db")
    with pytest.raises(MlflowUnavailable):
        MlflowMirror(repository).sync()
    assert not (tmp_path / "mine.db").exists()


@pytest.mark.parametrize("name", ["../../../outside", "a/b", "..", "", "x" * 200, 5, "a'b", "a\n"])
def test_name_of_the_experiment_is_no_path(tmp_path: Path, name: object) -> None:
    cns = received(tmp_path / "got")
    settings = config.with_value(config.load(cns / "config.toml"), "mlflow.name", name)
    config.save(cns / "config.toml", settings)
    if name == "":
        assert MlflowStore(cns, None).name is None
        return
    with pytest.raises(BadConfig):
        MlflowStore(cns, None)


def test_large_config_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(b"#" * (config.LARGEST + 1))
    with pytest.raises(NotPlain):
        config.load(tmp_path / "config.toml")


def test_config_that_nests_a_thousand_tables_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(b".".join([b"a"] * 20_000) + b" = 1")  # hours and the whole memory, else
    with pytest.raises(BadConfig, match="dots"):
        config.load(tmp_path / "config.toml")
