"""A shared lineage on a real `mlflow server`: packs, the log of moves, and what no error may show."""

from __future__ import annotations

import io
import shutil
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from registry.errors import BadValue, MlflowUnavailable
from registry.mirror import proxy
from registry.mirror.mirror import MlflowMirror
from registry.mirror.moves import move_of, tags_of
from registry.mirror.remote import PACK_TAG, MlflowRemote
from registry.mirror.server import REMOTE_TAG
from registry.refs import HEADS
from registry.repository import Repository
from registry.sharing import cloning
from registry.sharing.remote import Move, RemoteUnavailable, fold
from tests.registry.making import add, new_repository
from tests.registry.sharing.making import fetch, lineage, push
from tests.torture.sharedlineage import push_each

MAIN = HEADS + "main"


def commit(number: int) -> str:
    return f"{number:064x}"


def move(old: int | None, new: int | None, ref: str = MAIN, nonce: int | None = None, **texts: str) -> Move:
    ends = [None if end is None else commit(end) for end in (old, new)]
    words = {"author": "Ada", "message": "push", **texts}
    return Move(ref, *ends, time=1_800_000_000, nonce=f"{nonce or (old or 0) * 1000 + (new or 0):032x}", **words)


@pytest.fixture
def server(tracking_server: str) -> Iterator[str]:
    """A server without a lineage."""
    client = MlflowClient(tracking_server)
    yield tracking_server
    for model in client.search_registered_models():
        client.delete_registered_model(model.name)
    for experiment in client.search_experiments():
        if experiment.experiment_id != "0":
            client.delete_experiment(experiment.experiment_id)


@pytest.fixture
def studio(server: str, request: pytest.FixtureRequest) -> MlflowRemote:
    """A lineage that nobody has pushed to; MLflow keeps the names of deleted experiments, so each test has its own."""
    return MlflowRemote(f"{server}#studio-{zlib.crc32(request.node.name.encode())}")


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    file = tmp_path / "pack"
    file.write_bytes(bytes(range(256)) * 5000)
    return file


def again(remote: MlflowRemote) -> MlflowRemote:
    """The same lineage, as another client sees it."""
    return MlflowRemote(f"{remote.uri}#{remote.name}")


class TestPacks:
    def test_a_pack_comes_back_as_it_was_sent(self, studio: MlflowRemote, pack: Path) -> None:
        assert studio.packs() == []
        moved: list[int] = []
        studio.send("f00", b"an index", pack, moved.append)
        assert sum(moved) == pack.stat().st_size
        other = again(studio)
        assert other.packs() == ["f00"]
        assert other.index_of("f00") == b"an index"
        assert b"".join(other.receive("f00")) == pack.read_bytes()

    def test_a_pack_that_is_there_is_not_sent_again(self, studio: MlflowRemote, pack: Path) -> None:
        studio.send("f00", b"an index", pack, lambda _: None)
        moved: list[int] = []
        again(studio).send("f00", b"an index", pack, moved.append)
        assert moved == []

    def test_half_an_upload_is_no_pack_and_the_next_push_goes_on_with_it(
        self, studio: MlflowRemote, pack: Path
    ) -> None:
        studio.append(move(None, 1))
        client = MlflowClient(studio.uri)
        experiment = client.get_experiment_by_name(studio.name)
        run = client.create_run(experiment.experiment_id, tags={PACK_TAG: "f00"})
        place = f"{run.info.artifact_uri}/f00.pack"
        proxy.ask(studio.uri, "PUT", place, io.BytesIO(pack.read_bytes()[:1000]))
        assert studio.packs() == []
        with pytest.raises(RemoteUnavailable, match="f00 is not there"):
            list(studio.receive("f00"))
        studio.send("f00", b"an index", pack, lambda _: None)
        assert b"".join(studio.receive("f00")) == pack.read_bytes()
        found = client.search_runs([experiment.experiment_id], f"tags.`{PACK_TAG}` = 'f00'")
        assert [one.info.run_id for one in found] == [run.info.run_id]

    def test_a_removed_pack_leaves_no_bytes(self, studio: MlflowRemote, pack: Path) -> None:
        studio.send("f00", b"an index", pack, lambda _: None)
        client = MlflowClient(studio.uri)
        (run,) = client.search_runs([client.get_experiment_by_name(studio.name).experiment_id], "tags.`cns.pack` != ''")
        studio.remove("f00")
        assert studio.packs() == []
        assert client.list_artifacts(run.info.run_id) == []

    @pytest.mark.parametrize("name", ["a#b", "a?b", "a/b", "", "..", "ü"])
    def test_a_name_that_the_proxy_would_change_is_refused(self, studio: MlflowRemote, pack: Path, name: str) -> None:
        with pytest.raises(BadValue):
            studio.send(name, b"", pack, lambda _: None)


class TestMoves:
    def test_the_log_is_what_was_appended(self, studio: MlflowRemote) -> None:
        moves = [
            move(None, 1, HEADS + "größe/50%", author='Ä "x" <a@b>', message="two\nlines\0"),
            move(1, 2, HEADS + "größe/50%"),
            move(2, None, HEADS + "größe/50%"),
        ]
        assert studio.moves() == []
        assert [studio.append(one) for one in moves] == [True, True, True]
        assert again(studio).moves() == moves

    def test_of_two_that_come_from_one_place_the_first_counts(self, studio: MlflowRemote) -> None:
        assert studio.append(move(None, 1))
        first, second = again(studio), again(studio)
        assert first.append(move(1, 2))
        assert not second.append(move(1, 3))
        assert fold(studio.moves())[0] == {MAIN: commit(2)}

    def test_aliases_follow_the_moves_that_count(self, studio: MlflowRemote) -> None:
        client = MlflowClient(studio.uri)
        studio.append(move(None, 1))
        studio.append(move(None, 7, "refs/tags/v1.0"))
        studio.append(move(1, 2))
        studio.append(move(1, 3))
        aliases = client.get_registered_model(studio.name).aliases
        assert aliases == {"branch-main": "3", "tag-v1_2e0": "2"}
        assert client.get_model_version_by_alias(studio.name, "branch-main").tags["new"] == commit(2)
        studio.append(move(2, None))
        assert client.get_registered_model(studio.name).aliases == {"tag-v1_2e0": "2"}

    def test_a_model_that_was_deleted_and_made_again_is_read_anew(self, studio: MlflowRemote) -> None:
        """Its versions count from 1 again."""
        studio.append(move(None, 1))
        studio.append(move(1, 2))
        client = MlflowClient(studio.uri)
        tags = client.get_registered_model(studio.name).tags
        client.delete_registered_model(studio.name)
        assert studio.moves() == []
        client.create_registered_model(studio.name, tags)
        assert studio.append(move(None, 5, nonce=99))
        assert studio.moves() == [move(None, 5, nonce=99)]

    def test_a_version_that_is_no_move_is_left_alone(self, studio: MlflowRemote) -> None:
        studio.append(move(None, 1))
        client = MlflowClient(studio.uri)
        run = client.get_registered_model(studio.name).tags["cns.lineage"]
        for tags in ({}, tags_of(move(1, 2)) | {"new": "main"}, {"ref": MAIN, "old": commit(1), "new": commit(2)}):
            client.create_model_version(studio.name, f"runs:/{run}", run, tags=tags, await_creation_for=0)
        assert fold(studio.moves())[0] == {MAIN: commit(1)}
        assert studio.append(move(1, 2))

    def test_writers_at_once_lose_nothing(self, studio: MlflowRemote) -> None:
        """Each goes on from what it finds; the log has every step once."""
        writers = [again(studio) for _ in range(2)]
        studio.append(move(None, 1))
        for writer in writers:
            writer.moves()
        counted: list[tuple[str | None, str | None]] = []

        def write(number: int) -> None:
            for step in range(3):
                new, is_counted = commit(1000 * (number + 1) + step), False
                while not is_counted:
                    old = fold(writers[number].moves())[0][MAIN]
                    nonce = f"{number + 1:08x}{step:08x}{old[-16:]}"
                    is_counted = writers[number].append(Move(MAIN, old, new, "Ada", 0, "", nonce))
                counted.append((old, new))

        threads = [threading.Thread(target=write, args=[number]) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(counted) == len({old for old, _ in counted}) == 6
        nonces = fold(studio.moves())[1]
        steps = [one for one in studio.moves() if one.nonce in nonces]
        assert {(one.old, one.new) for one in steps[1:]} == set(counted)
        alias = MlflowClient(studio.uri).get_model_version_by_alias(studio.name, "branch-main")
        assert alias.tags["nonce"] == steps[-1].nonce

    def test_tags_are_short_and_ascii(self) -> None:
        long = move(1, 2, author="é" * 4000, message="x" * 6000)
        tags = tags_of(long)
        assert all(value.isascii() and value.isprintable() and len(value) <= 5000 for value in tags.values())
        found = move_of(tags)
        assert found is not None
        assert (found.author, found.message) == ("é" * 833, "x" * 5000)


class TestAddresses:
    def test_the_only_lineage_is_taken(self, studio: MlflowRemote) -> None:
        assert MlflowRemote(studio.uri).moves() == []
        studio.append(move(None, 1))
        found = MlflowRemote(f"mlflow+{studio.uri}/")
        assert found.moves() == [move(None, 1)]
        assert found.shown == studio.shown == f"{studio.uri}#{studio.name}"

    def test_several_lineages_are_listed(self, studio: MlflowRemote) -> None:
        studio.append(move(None, 1))
        other = MlflowRemote(f"{studio.uri}#{studio.name}-2")
        other.append(move(None, 1))
        with pytest.raises(RemoteUnavailable, match=f"several lineages: {studio.name}, {other.name};") as caught:
            MlflowRemote(studio.uri).moves()
        assert studio.shown in caught.value.hint

    def test_a_first_push_names_the_lineage(self, server: str, studio: MlflowRemote) -> None:
        with pytest.raises(RemoteUnavailable, match="holds no lineage, and the address names none"):
            MlflowRemote(server).append(move(None, 1))
        named = MlflowRemote(server, lambda: f"{studio.name}-first")
        named.append(move(None, 1))
        assert named.shown == f"{server}#{studio.name}-first"

    def test_a_model_of_somebody_else_is_left_alone(self, studio: MlflowRemote) -> None:
        MlflowClient(studio.uri).create_registered_model(studio.name)
        for use in (studio.moves, studio.packs, lambda: studio.append(move(None, 1))):
            with pytest.raises(RemoteUnavailable, match="is no lineage that this version reads"):
                use()

    def test_no_registry_is_recorded_under_the_name_of_a_lineage(
        self, studio: MlflowRemote, repository: Repository
    ) -> None:
        """Its aliases would go, and its versions are a log."""
        studio.append(move(None, 1))
        repository.set_config("mlflow.name", studio.name)
        with pytest.raises(MlflowUnavailable, match="is a shared lineage"):
            MlflowMirror(repository, studio.uri).sync()

    def test_a_deleted_experiment_is_said(self, studio: MlflowRemote) -> None:
        studio.append(move(None, 1))
        client = MlflowClient(studio.uri)
        number = client.get_experiment_by_name(studio.name).experiment_id
        client.delete_experiment(number)
        with pytest.raises(RemoteUnavailable, match="was deleted") as caught:
            again(studio).packs()
        assert caught.value.hint == f"mlflow experiments restore --experiment-id {number}"

    @pytest.mark.parametrize("address", ["sqlite:///team.db", "postgresql://db/mlflow#studio", "http://", "models:/x"])
    def test_only_a_server_can_be_one(self, address: str) -> None:
        with pytest.raises(RemoteUnavailable, match="expected the address of a tracking server"):
            MlflowRemote(address)

    @pytest.mark.parametrize("name", ["a/b", "a b", "-", "a" * 129, "é"])
    def test_a_name_that_mlflow_cannot_have_is_refused(self, name: str) -> None:
        with pytest.raises(BadValue):
            MlflowRemote(f"http://127.0.0.1:9#{name}")

    def test_no_error_shows_what_opens_the_server(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0ken")
        monkeypatch.setenv("MLFLOW_WORKSPACE", "red")
        remote = MlflowRemote("http://ann:s3cret@127.0.0.1:9/prefix?key=s3cret#studio")
        assert remote.shown == "http://127.0.0.1:9/prefix#studio (workspace red)"
        with pytest.raises(RemoteUnavailable) as caught:
            remote.moves()
        said = f"{caught.value} {caught.value.message} {caught.value.hint} {caught.value.reason} {caught.value.address}"
        assert "s3cret" not in said
        assert "t0ken" not in said
        assert "(workspace red)" in said


class TestWithoutAProxy:
    """A server that leaves artifacts to its clients, with a folder as their place: files would stay on this disk."""

    def test_nothing_is_pushed(self, studio: MlflowRemote, tmp_path: Path) -> None:
        MlflowClient(studio.uri).create_experiment(studio.name, artifact_location=str(tmp_path / "server"))
        with pytest.raises(RemoteUnavailable, match="serves no artifacts"):
            studio.append(move(None, 1))
        assert not (tmp_path / "server").exists()
        assert again(studio).moves() == []

    def test_nothing_is_mirrored(self, studio: MlflowRemote, repository: Repository, tmp_path: Path) -> None:
        MlflowClient(studio.uri).create_experiment(studio.name, artifact_location=str(tmp_path / "server"))
        repository.set_config("mlflow.name", studio.name)
        with pytest.raises(MlflowUnavailable, match="takes no artifacts") as caught:
            MlflowMirror(repository, studio.uri).sync()
        assert caught.value.hint == "start the server without --no-serve-artifacts; then: cns mlflow sync"
        assert not (tmp_path / "server").exists()


def test_a_lineage_goes_from_one_registry_to_another(studio: MlflowRemote, tmp_path: Path) -> None:
    ann = lineage(tmp_path / "ann")
    assert push(ann, studio).photos == 6
    bob = Repository.init(tmp_path / "bob", *_same_base(ann), author="Bob", time=0)
    fetched = fetch(bob, again(studio))
    assert fetched.heads == ann.branches()
    assert bob.tags() == ann.tags()
    assert set(ann.objects.ids()) <= set(bob.objects.ids())
    for one in ann.objects.ids():
        assert bob.objects.read(one) == ann.objects.read(one)
    add(ann, "kim")
    assert push(ann, again(studio)).packs == 1
    assert fetch(bob, studio).heads["main"] == ann.resolve("main")


def test_two_that_push_at_once_lose_nothing(studio: MlflowRemote, tmp_path: Path) -> None:
    """Who is refused fetches, goes on from there and pushes again."""
    root = new_repository(tmp_path / "ann").root
    shutil.copytree(root, tmp_path / "bob")
    remotes = {name: again(studio) for name in ("ann", "bob")}
    pushed: list[tuple[str, int]] = []

    def work(name: str) -> None:
        pushed.extend(push_each(Repository(tmp_path / name), remotes[name], name, 8))

    for remote in remotes.values():
        remote.moves()
    threads = [threading.Thread(target=work, args=[name]) for name in remotes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    clone, _ = cloning.clone(studio.shown, tmp_path / "clone", lambda _: None, author="Carol", time=0)
    assert {made for made, _ in pushed} <= {commit_id for commit_id, _ in clone.log()}
    assert len(pushed) == len(clone.tree_of(clone.head().commit).concepts) == 16


def _same_base(repository: Repository) -> tuple[object, dict[str, str]]:
    from registry.objects import Base

    tree = repository.tree_of(repository.head().commit)
    return repository.objects.get(tree.base, Base), {"base.source": "emoji-64"}


def test_the_tag_of_a_lineage_is_its_format(studio: MlflowRemote) -> None:
    studio.append(move(None, 1))
    client = MlflowClient(studio.uri)
    model = client.get_registered_model(studio.name)
    assert model.tags[REMOTE_TAG] == "1"
    readme = Path(client.download_artifacts(model.tags["cns.lineage"], "README.txt")).read_text()
    assert f"cns clone {studio.shown}" in readme
