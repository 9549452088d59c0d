"""A shared lineage on an MLflow tracking server: packs are runs, ref moves are versions of one registered model.

A pack is a run whose files went through the server's artifact proxy, so that clients need no keys of a bucket; it is
finished only once both are there, so that half an upload is no pack. A move is a model version: MLflow numbers these
once, in the order in which it took them, and has no other compare-and-swap. Nothing of the log is kept between two
readings: a model that was deleted and made again counts from 1. This module does not know what is in a pack.
"""

from __future__ import annotations

import contextlib
import functools
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from registry.addresses import shown
from registry.errors import BadValue, RegistryError
from registry.mirror import proxy
from registry.mirror.busy import persistently, unless_there
from registry.mirror.moves import move_of, tags_of
from registry.mirror.proxy import Counting
from registry.mirror.runs import alias_of
from registry.mirror.server import NAME, PAGE, REMOTE_TAG, client_at, hint_of, in_workspace, reason_of, search_runs
from registry.sharing.ahead import read_ahead
from registry.sharing.pack import LARGEST_INDEX
from registry.sharing.remote import Move, Moved, Remote, RemoteUnavailable, fold

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

FORMAT = "1"
LINEAGE_TAG = "cns.lineage"  # of the first run, which proves that files come back; moves are versions of it
PACK_TAG = "cns.pack"
PACK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # the proxy takes '#' and '?' for the end of a name
PIECE = 2**20
ABOUT = """\
This experiment is a lineage that cns shares: runs that have the tag cns.pack hold its objects, and the versions of the
registered model {name} are the moves of its branches and tags. To have it: cns clone {address}
"""


class MlflowRemote(Remote):
    """One lineage of a tracking server; see `Remote`.

    Args:
        address: The tracking URI with the model's name as its fragment, `https://host/prefix#studio`; also
            `mlflow+https://…`. Without a name, the only lineage of the server.
        name: Returns what a first push calls the lineage, where the address does not say and the server has none.

    Attributes:
        name: Of the registered model and of the experiment; empty until it is known.
    """

    def __init__(self, address: str, name: Callable[[], str] = str) -> None:
        uri, _, named = address.removeprefix("mlflow+").partition("#")
        self.uri = uri.rstrip("/")
        self._first_name = name
        self._experiment = ""  # until the lineage was found
        self._lineage = ""  # its first run
        self._runs: dict[str, Any] = {}  # {pack: its finished run}, as they were listed last
        self._call_it(named)
        if not re.match(r"https?://[^/]", uri):
            raise RemoteUnavailable(shown(address), "expected the address of a tracking server: https://HOST#NAME")
        if named and not NAME.fullmatch(named):
            raise BadValue("the lineage's name", named, "letters, digits, '-' and '_', at most 128")

    def moves(self) -> list[Move]:
        """See Remote."""
        return [move for _, move in self._log()]

    def append(self, move: Move) -> bool:
        """See Remote. The aliases follow: they are for people and for servers that deploy by them."""
        with self._errors():
            self._make()
            source = f"runs:/{self._lineage}"
            persistently(
                self._client.create_model_version,
                self.name, source, self._lineage, tags=tags_of(move), await_creation_for=0,
            )  # fmt: skip
            if move.nonce not in fold(self.moves())[1]:
                return False
            self._point_alias(move.ref)
            return True

    def packs(self) -> list[str]:
        """See Remote."""
        with self._errors():
            if not self._find():
                return []
            where = f"attributes.status = 'FINISHED' and tags.`{PACK_TAG}` != ''"
            found = {run.data.tags[PACK_TAG]: run for run in search_runs(self._client, self._experiment, where)}
            self._runs = {name: run for name, run in found.items() if PACK_NAME.fullmatch(name)}
            return sorted(self._runs)

    def index_of(self, pack: str) -> bytes:
        """See Remote."""
        with self._errors():
            content = b""
            for piece in self._pieces(pack, "index"):
                content += piece
                if len(content) > LARGEST_INDEX:
                    raise RemoteUnavailable(self.shown, f"the index of pack {pack} has more than {LARGEST_INDEX} bytes")
            return content

    def receive(self, pack: str) -> Iterator[bytes]:
        """See Remote."""
        with self._errors():
            yield from self._pieces(pack, "pack")

    def send(self, pack: str, index: bytes, source: Path, moved: Moved) -> None:
        """See Remote. What a broken upload left is written over and used."""
        if not PACK_NAME.fullmatch(pack):
            raise BadValue("a pack's name", pack, "letters, digits, '.', '_' and '-'")
        with self._errors():
            self._make()
            known = self._runs_of(pack)
            if any(run.info.status == "FINISHED" for run in known):
                return
            run = known[0] if known else self._new_run(pack)
            with source.open("rb") as file:
                self._ask("PUT", run, f"{pack}.pack", Counting(file, moved))
            self._ask("PUT", run, f"{pack}.index", io.BytesIO(index))
            self._client.set_terminated(run.info.run_id, "FINISHED")

    def remove(self, pack: str) -> None:
        """See Remote. The bytes go first, so that a removal that broke off is finished by the next one."""
        with self._errors():
            for run in self._runs_of(pack) if self._find() else ():
                for file in self._client.list_artifacts(run.info.run_id):
                    self._ask("DELETE", run, file.path)
                self._client.delete_run(run.info.run_id)
            self._runs.pop(pack, None)

    @functools.cached_property
    def _client(self) -> MlflowClient:
        return client_at(self.uri)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn whatever MLflow and what it stands on raise into RemoteUnavailable."""
        try:
            yield
        except RegistryError:
            raise
        except Exception as error:  # its server, its own code in any version: never a bug of ours
            raise RemoteUnavailable(self.shown, reason_of(error), hint_of(error) or "run the command again") from error

    def _call_it(self, name: str) -> None:
        self.name = name
        self.shown = in_workspace(shown(self.uri) + (f"#{name}" if name else ""))

    def _find(self) -> bool:
        """Whether the server has the lineage; from then on its parts are known."""
        if self._experiment:
            return True
        found = self._model(self.name) if self.name else self._only_model()
        if found is None:
            return False
        self._call_it(found.name)
        if found.tags.get(REMOTE_TAG) != FORMAT:
            reason = f"its model '{found.name}' is no lineage that this version reads; expected another name"
            raise RemoteUnavailable(self.shown, reason)
        experiment = self._client.get_experiment_by_name(found.name)
        if experiment is None or experiment.lifecycle_stage == "deleted":
            reason = f"its experiment '{found.name}' was deleted, and the packs with it"
            hint = f"mlflow experiments restore --experiment-id {experiment.experiment_id}" if experiment else ""
            raise RemoteUnavailable(self.shown, reason, hint)
        self._experiment, self._lineage = str(experiment.experiment_id), found.tags.get(LINEAGE_TAG, "")
        return True

    def _model(self, name: str) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return self._client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None

    def _only_model(self) -> Any:
        found = self._client.search_registered_models(f"tags.`{REMOTE_TAG}` = '{FORMAT}'", max_results=100)
        if len(found) > 1:
            names = sorted(model.name for model in found)
            several = f"it holds several lineages: {', '.join(names)}; expected one of them after a '#'"
            raise RemoteUnavailable(self.shown, several, f"cns remote set-url origin '{shown(self.uri)}#{names[0]}'")
        return found[0] if found else None

    def _make(self) -> None:
        """Make the lineage where there is none: the model comes last, once a file has come back from the server."""
        if self._find():
            return
        name = self.name or self._first_name()
        if not NAME.fullmatch(name):
            raise RemoteUnavailable(self.shown, "it holds no lineage, and the address names none; expected …#NAME")
        self._call_it(name)
        unless_there(self._client.create_experiment, name)
        experiment = self._client.get_experiment_by_name(name)
        place = experiment.artifact_location
        if not place.startswith(proxy.SCHEME):
            reason = f"it serves no artifacts: files would go to '{place}' past it; expected a server that takes them"
            raise RemoteUnavailable(self.shown, reason, "start it without --no-serve-artifacts")
        lineage = self._proven_run(str(experiment.experiment_id), name)
        unless_there(self._client.create_registered_model, name, {REMOTE_TAG: FORMAT, LINEAGE_TAG: lineage})
        self._find()

    def _proven_run(self, experiment: str, name: str) -> str:
        """Return the id of a run whose file came back as it was sent."""
        run = persistently(self._client.create_run, experiment, tags={LINEAGE_TAG: name}, run_name=name)
        sent = ABOUT.format(name=name, address=f"{shown(self.uri)}#{name}").encode()
        self._ask("PUT", run, "README.txt", io.BytesIO(sent))
        back = self._ask("GET", run, "README.txt").content
        if back != sent:
            raise RemoteUnavailable(self.shown, f"of {len(sent)} bytes that it took, {len(back)} others came back")
        self._client.set_terminated(run.info.run_id, "FINISHED")
        return str(run.info.run_id)

    def _new_run(self, pack: str) -> Any:
        return persistently(self._client.create_run, self._experiment, tags={PACK_TAG: pack}, run_name=pack)

    def _runs_of(self, pack: str) -> list[Any]:
        """Return the runs of a pack, those of broken uploads too; oldest first."""
        return list(search_runs(self._client, self._experiment, f"tags.`{PACK_TAG}` = '{pack}'"))

    def _log(self) -> list[tuple[str, Move]]:
        """Return (version, move) of the whole log, oldest first."""
        with self._errors():
            found: list[tuple[str, Move]] = []
            token: str | None = None
            while self._find():
                page = self._client.search_model_versions(
                    f"name = '{self.name}'", max_results=PAGE, order_by=["version_number ASC"], page_token=token
                )
                found += [(str(one.version), move) for one in page if (move := move_of(one.tags)) is not None]
                token = page.token
                if not token:
                    break
            return found

    def _point_alias(self, ref: str) -> None:
        """Point a ref's alias to the version that moved it; whoever sets it last has looked after others had."""
        alias, is_set = alias_of(ref), ""
        while True:
            log = self._log()
            counted = fold(move for _, move in log)[1]
            version, move = [(version, move) for version, move in log if move.ref == ref and move.nonce in counted][-1]
            if version == is_set:
                return
            if move.new is None:
                persistently(self._client.delete_registered_model_alias, self.name, alias)
            else:
                persistently(self._client.set_registered_model_alias, self.name, alias, version)
            is_set = version

    def _pieces(self, pack: str, end: str) -> Iterator[bytes]:
        if pack not in self._runs and pack not in self.packs():
            raise RemoteUnavailable(self.shown, f"pack {pack} is not there")
        with self._ask("GET", self._runs[pack], f"{pack}.{end}") as answer:
            yield from read_ahead(answer.iter_content(PIECE))

    def _ask(self, method: str, run: Any, name: str, content: BinaryIO | Counting | None = None) -> Any:
        return proxy.ask(self.uri, method, f"{run.info.artifact_uri}/{name}", content)
