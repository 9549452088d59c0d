"""R17: a lineage on a real `mlflow server` that several push to at once, and whose server is killed in a push.

Each of two processes adds concepts to main and pushes each one; who is refused fetches, goes on from there and pushes
again. What was acknowledged must be in the history that a clone then gets. MLflow's database is SQLite and, where it is
installed, Postgres. In the other trials the server gets SIGKILL when a push has sent a part of its bytes; after its
restart the same push must end, without sending again what had arrived, and a clone must equal the registry.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from registry.health.fsck import fsck
from registry.mirror.mirror import MlflowMirror
from registry.mirror.remote import MlflowRemote
from registry.objects import Blob
from registry.refs import HEADS
from registry.repository import Repository
from registry.sharing import cloning, incoming, outgoing
from registry.sharing.incoming import tracking
from registry.sharing.inventory import to_send
from registry.sharing.outgoing import PushRefused
from registry.sharing.remote import Meter, Remote, RemoteUnavailable
from tests.registry.making import AUTHOR, add, evaluation, new_repository
from tests.torture.brokenmlflow_outside import ROOT, server_in
from tests.torture.scratch import scratch_folder
from tests.torture.table import Size, Trial
from tests.torture.verify import Broken

PUSHES = {"quick": 8, "full": 50}
KILLED_AT = {"quick": (0.6,), "full": (0.01, 0.3, 0.6, 0.99)}  # of the bytes of a push
BLOB_BYTES = 12 * 2**20  # so that a push of eight of them has several packs
MAIN = HEADS + "main"
PUSHER = "import sys; from tests.torture.sharedlineage import pusher; pusher(*sys.argv[1:])"
POSTGRES = Path("/usr/lib/postgresql")


def run(size: Size) -> list[Trial]:
    """Each trial once."""
    trials = [
        _tried(f"2 x {PUSHES[size]} pushes at once", 2 * PUSHES[size], functools.partial(raced, PUSHES[size])),
        *(_tried(f"server killed at {at:.0%} of a push", 1, functools.partial(killed, at)) for at in KILLED_AT[size]),
    ]
    if reason := missing_postgres():
        return [*trials, Trial("R17", "the same on Postgres", 0, 0, 0, f"not tried: {reason}", 0.0)]
    race = functools.partial(raced, PUSHES[size], on_postgres=True)
    return [*trials, _tried(f"2 x {PUSHES[size]} pushes at once, Postgres", 2 * PUSHES[size], race)]


def _tried(what: str, count: int, trial: Callable[[Path], str]) -> Trial:
    began = time.monotonic()
    lost, note = 0, ""
    with scratch_folder() as folder:
        try:
            note = trial(folder)
        except (Broken, RemoteUnavailable) as error:
            lost, note = 1, str(error)
    return Trial("R17", what, count, lost, 0, note, time.monotonic() - began)


def raced(pushes: int, folder: Path, *, on_postgres: bool = False) -> str:
    """Let two processes push at once; return how often one of them had to go on from the other's."""
    first = new_repository(folder / "ann")
    shutil.copytree(first.root, folder / "bob")
    (folder / "server").mkdir()
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(postgres()) if on_postgres else ""
        uri, _ = stack.enter_context(server_in(folder / "server", store=store))
        address = f"{uri}#studio"
        command = [sys.executable, "-c", PUSHER]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        pushers = [
            subprocess.Popen(
                [*command, str(folder / name), address, name, str(pushes)], cwd=ROOT, env=env, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )
            for name in ("ann", "bob")
        ]  # fmt: skip
        said = [pusher.communicate() for pusher in pushers]
        if any(pusher.returncode for pusher in pushers):
            raise Broken("; ".join(err.strip().splitlines()[-1] for _, err in said if err.strip()))
        clone, _ = cloning.clone(address, folder / "clone", lambda _: None, author=AUTHOR, time=0)
    acknowledged = [line.split() for out, _ in said for line in out.splitlines()]
    history = {commit_id for commit_id, _ in clone.log()}
    gone = [commit_id for commit_id, _ in acknowledged if commit_id not in history]
    if gone or len(acknowledged) != 2 * pushes:
        raise Broken(f"{len(acknowledged)} pushes were acknowledged, and {len(gone)} of their commits are gone")
    wanted = {f"{name}-{number}" for name in ("ann", "bob") for number in range(pushes)}
    if set(clone.tree_of(clone.head().commit).concepts) != wanted:
        raise Broken("the clone's model has not every concept")
    check_comes_back(clone)
    return f"{sum(int(refused) for _, refused in acknowledged)} were refused first; none lost"


def check_comes_back(clone: Repository) -> None:
    """Record a lineage on MLflow, lose its objects, restore them, and find nothing missing."""
    MlflowMirror(clone).sync()
    shutil.rmtree(clone.folder / "objects")
    report = MlflowMirror.restore(clone.root)
    errors = [finding.what for finding in fsck(clone.folder)[0].findings if finding.level == "error"]
    if report.lacking or errors:
        raise Broken(f"a restore from MLflow lacks {len(report.lacking)} scores; fsck: {errors[:3]}")


def push_each(repository: Repository, remote: Remote, name: str, count: int) -> Iterator[tuple[str, int]]:
    """Add concepts to main and push each; yield the commit, once it is pushed, and how often it was refused first."""
    for number in range(count):
        refused, is_pushed = 0, False
        while not is_pushed:
            made = add(repository, f"{name}-{number}").id
            repository.add_evaluation(evaluation(repository, f"{name}-{number}"))
            try:
                outgoing.push(repository, remote, "origin", {MAIN: made}, author=AUTHOR, time=0)
                is_pushed = True
            except PushRefused:
                refused += 1
                incoming.fetch(repository, remote, "origin", author=AUTHOR, time=0)
                theirs = repository.refs.get(tracking("origin", "main"))
                assert theirs is not None
                repository.move(theirs, message="pull", author=AUTHOR, time=0, old=made)
        yield made, refused


def pusher(root: str, address: str, name: str, count: str) -> None:
    """Do it in a process of its own, and print what is yielded."""
    for made, refused in push_each(Repository(Path(root)), MlflowRemote(address), name, int(count)):
        print(made, refused, flush=True)


class _Killing(Meter):
    """Kills a server once a part of a transfer's bytes have moved."""

    def __init__(self, kill: Callable[[], None], at: float) -> None:
        self.kill, self.at = kill, at
        self.left = self.sent = 0

    def begin(self, what: str, size_bytes: int) -> None:
        self.left = int(size_bytes * self.at)

    def moved(self, size_bytes: int) -> None:
        self.sent += size_bytes
        if 0 <= self.left < self.sent:
            self.left = -1
            self.kill()


def killed(at: float, folder: Path) -> str:
    """Kill the server in a push, start it again and push again; return what that sent of the whole."""
    repository = new_repository(folder / "ann")
    for number in range(8):
        mask = repository.objects.put(Blob(os.urandom(BLOB_BYTES)))
        add(repository, f"rex-{number}", mask=mask)
    asked: dict[str, str | None] = {MAIN: repository.head().commit}
    who = {"author": AUTHOR, "time": 0}
    (folder / "server").mkdir()
    with server_in(folder / "server") as (uri, server):
        address = f"{uri}#studio"
        meter = _Killing(server.kill, at)
        try:
            outgoing.push(repository, MlflowRemote(address), "origin", asked, meter=meter, **who)
        except RemoteUnavailable:
            pass
        else:
            raise Broken("the push ended although its server was killed")
    again = _Killing(lambda: None, 2.0)
    with server_in(folder / "server", int(uri.rpartition(":")[2])) as (_, _):
        done = outgoing.push(repository, MlflowRemote(address), "origin", asked, meter=again, **who)
        clone, _ = cloning.clone(address, folder / "clone", lambda _: None, author=AUTHOR, time=0)
    reached = {entry.object_id for entry in to_send(repository, [repository.head().commit], ())}
    if clone.head().commit != repository.head().commit or set(clone.objects.ids()) != reached:
        raise Broken("the clone is not what was pushed")
    if [finding for finding in fsck(clone.folder)[0].findings if finding.level == "error"]:
        raise Broken("the clone is damaged")
    whole = sum(repository.objects.path(one).stat().st_size for one in reached)
    return f"the second push sent {done.size_bytes / 2**20:.0f} of {whole / 2**20:.0f} MiB; the clone is equal"


def missing_postgres() -> str:
    """Return why Postgres cannot be tried; empty where it can."""
    if not _postgres_programs():
        return "Postgres is not installed"
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return "psycopg is not installed"
    return ""


def _postgres_programs() -> Path | None:
    found = shutil.which("initdb") or next(iter(sorted(map(str, POSTGRES.glob("*/bin/initdb")))), None)
    return Path(found).resolve().parent if found else None


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """Run a Postgres of our own that listens on a socket in its folder alone; yield its URI."""
    programs = _postgres_programs()
    assert programs is not None
    user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []  # it refuses to be root
    with tempfile.TemporaryDirectory(prefix="cns-pg-") as folder:
        if user:
            shutil.chown(folder, "postgres")
        data = Path(folder) / "data"

        def call(program: str, *words: str) -> None:
            command = [*user, str(programs / program), *words]
            subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)

        call("initdb", "-D", str(data), "-U", "mlflow", "-A", "trust", "-E", "UTF8", "--no-sync")
        call("pg_ctl", "-D", str(data), "-w", "-l", f"{folder}/log", "-o", f"-k {folder} -h ''", "start")
        try:
            call("createdb", "-h", folder, "-U", "mlflow", "mlflow")
            yield f"postgresql://mlflow@/mlflow?host={folder}"
        finally:
            call("pg_ctl", "-D", str(data), "-m", "immediate", "stop")
