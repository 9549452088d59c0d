"""`ui`: MLflow's own interface on the registry's store, a process that lives as long as the command.

It listens on loopback alone. It has a session of its own, so that all of its processes are ended together.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import quote

from cns_cli.porcelain.options import Request
from cns_cli.porcelain.result import Result
from registry import signals
from registry.errors import MlflowUnavailable, RegistryError
from registry.mirror.interface import address, command
from registry.mirror.server import MlflowStore
from registry.repository import Repository

HOST = "127.0.0.1"
READY_S = 120.0  # chosen; a first start on a busy machine takes half a minute
PAUSE_S = 0.1
END_S = 10.0
REPORT = "report.html"  # what `cns report` calls it


@dataclass(frozen=True, kw_only=True)
class UiResult(Result):
    """MLflow's interface is there.

    Attributes:
        url: Where; of the registry's own model, once it has a name there.
        report: The page of `cns report` beside `.cns`, if there is one.
        started: This command started it, and it ends with it; otherwise it is a server's.
    """

    url: str
    report: Path | None
    started: bool


@contextlib.contextmanager
def interface(request: Request, port: int) -> Iterator[UiResult]:
    """Start MLflow's interface, yield where it is, and wait for its end; an interruption ends it.

    Of a store that is a server, yield its address and return.

    Raises:
        NotARegistry.
        RegistryError: the port is taken.
        MlflowUnavailable: nothing is recorded yet, or the interface does not start.
    """
    repo = Repository.discover(request.start)
    store = MlflowStore(repo.folder, request.mlflow_uri)
    report = repo.root / REPORT if (repo.root / REPORT).is_file() else None
    page = f"/#/models/{quote(store.name)}" if store.name else ""
    if (server := address(store)) is not None:
        yield UiResult(url=server + page, report=report, started=False)
        return
    words, variables = command(store, port)
    _refuse_taken(port)
    # Nothing is imported from the current folder: Python and uvicorn look there first.
    with tempfile.TemporaryDirectory(prefix="cns-ui-") as empty, tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            words, env=variables, cwd=empty, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
        )
        try:
            _wait_until_ready(process, port, store.shown, said)
            yield UiResult(url=f"http://{HOST}:{port}{page}", report=report, started=True)
            process.wait()
        finally:
            _end(process)


def _refuse_taken(port: int) -> None:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((HOST, port))
        except OSError as error:
            raise RegistryError(
                f"port {port} of {HOST} cannot be used: {error.strerror}; expected a free one",
                f"cns ui --port {port + 1}",
            ) from error


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, where: str, said: IO[bytes]) -> None:
    until = time.monotonic() + READY_S
    while not _healthy(port):
        if process.poll() is not None or time.monotonic() > until:
            said.seek(0)
            last = (said.read().decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1][:300]
            raise MlflowUnavailable(f"its interface did not start: {last}", where, "cns doctor")
        time.sleep(PAUSE_S)


def _healthy(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and all that it started; a second Ctrl-C waits for that."""
    with signals.held(patience=2):
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(END_S)
