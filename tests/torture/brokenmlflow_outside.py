"""R10, the ways to break MLflow that need another process, a file system of their own, or a real server.

A child commits and mirrors, as a command does, and prints the warnings; what it met is gone with it. Then the parent
syncs and looks.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from registry.mirror.mirror import MlflowMirror
from registry.repository import Repository
from tests.torture.brokenmlflow import Mirrored, check_mirrored, commit_and_mirror, forget_connections, tried
from tests.torture.fulldisk import missing_namespace
from tests.torture.injection import missing
from tests.torture.scratch import scratch_folder
from tests.torture.table import Trial
from tests.torture.verify import Broken

ROOT = Path(__file__).resolve().parents[2]
COMMIT = "import sys; from pathlib import Path; from registry.repository import Repository; "
COMMIT += "from tests.torture.brokenmlflow import commit_and_mirror; "
COMMIT += "print(*commit_and_mirror(Repository(Path(sys.argv[1])), 'kim', None), sep='\\n')"

# Run as root of a user namespace, where $CNS is the registry's folder.
MOUNTS = {
    "database read-only": 'mount --bind "$CNS/mlflow.db" "$CNS/mlflow.db" && mount -o remount,bind,ro "$CNS/mlflow.db"',
    "artifacts read-only": 'mount --bind "$CNS/mlartifacts" "$CNS/mlartifacts" && '
    'mount -o remount,bind,ro "$CNS/mlartifacts"',
    "disk of the artifacts full": 'mount -t tmpfs -o size=4k,nr_inodes=3 none "$CNS/mlartifacts"',
}


def run() -> list[Trial]:
    """Each way once."""
    trials = []
    with scratch_folder() as scratch:
        mirrored = Mirrored(scratch)
        trials += [
            tried(f"import {name}", functools.partial(_import_fails, mirrored, code)) for name, code in BAD.items()
        ]
        if reason := missing_namespace():
            trials.append(Trial("R10", "MLflow: mounts", 0, 0, 0, f"not tried: {reason}", 0.0))
        else:
            trials += [tried(name, functools.partial(_mounted, mirrored, how)) for name, how in MOUNTS.items()]
        if not missing():
            trials.append(tried("disk of the database full", functools.partial(_child, mirrored.fresh(), NO_SPACE)))
        for after_s in (0.1, 0.4, 1.0):
            what = f"server killed {after_s:g} s into the recording"
            trials.append(tried(what, functools.partial(_server_killed, mirrored, after_s)))
    return trials


# SQLite writes by pwrite64, and nothing else here does.
NO_SPACE = ["strace", "-f", "-qq", "-o", os.devnull, "-e", "inject=pwrite64:error=ENOSPC"]
BAD = {
    "fails": "raise ImportError('libssl.so.1.1: cannot open shared object file')",
    "is no Python": "def broken(:",
    "raises something else": "raise RuntimeError('no GPU found')",
    "finds a part missing": "import mlflow_that_is_not_there",
}


def _import_fails(mirrored: Mirrored, code: str) -> str:
    repository = mirrored.fresh()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "mlflow.py").write_text(code)
        return _child(repository, ["env", f"PYTHONPATH={folder}{os.pathsep}{ROOT}"])


def _mounted(mirrored: Mirrored, how: str) -> str:
    repository = mirrored.fresh()
    return _child(repository, ["unshare", "-rm", "sh", "-c", f'{how} && exec "$@"', "sh"])


def _child(repository: Repository, constraints: list[str]) -> str:
    """Commit in a child and repair here; return the child's warning."""
    command = [*constraints, sys.executable, "-c", COMMIT, str(repository.root)]
    paths = {"PYTHONPATH": str(ROOT), "CNS": str(repository.folder)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **paths}, timeout=300)
    if done.returncode or done.stderr.strip():
        raise Broken(f"the command ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    if not done.stdout.strip():
        raise Broken("nothing was broken")
    forget_connections()
    MlflowMirror(repository).sync()
    check_mirrored(repository)
    return done.stdout.strip()


def _server_killed(mirrored: Mirrored, after_s: float) -> str:
    """Kill a real `mlflow server` while it takes a commit; start it again, and sync."""
    repository = mirrored.fresh()
    with tempfile.TemporaryDirectory() as folder:
        with server_in(Path(folder)) as (uri, server):
            repository.set_config("mlflow.tracking_uri", uri)
            MlflowMirror(repository, uri).sync()
            killer = threading.Timer(after_s, server.kill)
            killer.start()
            warnings: tuple[str, ...] = ()
            for number in range(20):
                warnings = commit_and_mirror(repository, f"kim{number}", uri)
                if warnings:
                    break
            killer.join()
        if not warnings:
            raise Broken("the server did not go while a commit was recorded")
        port = int(uri.rpartition(":")[2])
        with server_in(Path(folder), port) as (uri, _):
            MlflowMirror(repository, uri).sync()
            report = MlflowMirror(repository, uri).sync()
            if report.commits or report.refs:
                raise Broken("a second sync still finds something to do")
            clone = Path(folder) / "clone"
            MlflowMirror.restore(clone, uri)
            if Repository(clone).head() != repository.head():
                raise Broken("a clone from the server is at another commit")
        return warnings[0]


@contextlib.contextmanager
def server_in(folder: Path, port: int = 0, store: str = "") -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a real `mlflow server` with its files in a folder; yield its address and its process.

    Args:
        folder: Where its artifacts go.
        port: 0 finds a free one.
        store: URI of its database; "": a file of SQLite in the folder.
    """
    if port == 0:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    store = store or f"sqlite:///{folder}/team.db"
    command += ["--backend-store-uri", store, "--artifacts-destination", str(folder / "files")]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    # A session of its own, so that its workers go with it; those of its job queue would take seconds to start.
    env = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    server = subprocess.Popen(command, cwd=folder, env=env, start_new_session=True, **quiet)
    server.kill = lambda: _kill_group(server.pid)  # type: ignore[method-assign]
    try:
        _wait_for(f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}", server
    finally:
        _kill_group(server.pid)
        server.wait()


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, 9)


def _wait_for(url: str) -> None:
    ends = time.monotonic() + 120
    while time.monotonic() < ends:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.2)
    raise TimeoutError(url)
