"""A process that has loaded all that `cns add` needs, and forks a child for each command, so that none pays for torch.

It reads a request a line from stdin and answers with a line on stdout. A request is {"commands": [words, ...],
"folder", "kills": [[seconds, signal], ...]}: the commands run at once, and the first is sent the signals. The answer
has an {"code", "seconds", "stdout", "stderr"} for each; code is that of `subprocess`, negative for a signal. One thread
only, or a fork would copy locks that nobody opens.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",  # MLflow brings pandas and with it pyarrow's own allocator
    "NO_COLOR": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


class ForkServer:
    """The other end: starts the process and sends it requests."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.torture.fork_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **ENVIRONMENT},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=60)  # ends its stdin, and with it the process

    def run(self, words: list[str], folder: Path, kills: list[tuple[float, int]] | None = None) -> dict[str, Any]:
        """Run one command line in a folder, and send it signals after so many seconds each."""
        return self._ask({"commands": [words], "folder": str(folder), "kills": kills or []})[0]

    def run_together(self, commands: list[list[str]], folder: Path) -> list[dict[str, Any]]:
        """Run several command lines in a folder at the same time."""
        return self._ask({"commands": commands, "folder": str(folder), "kills": []})

    def _ask(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answers: list[dict[str, Any]] = json.loads(self._process.stdout.readline())
        return answers


def serve() -> None:
    """Answer requests until stdin ends."""
    _load()
    threads = len(os.listdir("/proc/self/task"))
    assert threads == 1, f"{threads} threads: a fork would copy locks that nobody opens"
    for line in sys.stdin:
        sys.__stdout__.write(json.dumps(_answer(json.loads(line))) + "\n")
        sys.__stdout__.flush()


def _load() -> None:
    """Import what `cns add` imports on its way."""
    import torch

    from tests.steps import take_few_steps

    torch.set_num_threads(1)
    take_few_steps()
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
    import rich.progress  # noqa: F401
    from mlflow.tracking import MlflowClient  # noqa: F401

    import cns_cli.porcelain.add
    import cns_cli.porcelain.learning.learn  # noqa: F401
    import registry.mirror.mirror  # noqa: F401
    from cns_cli import main, start  # noqa: F401


def _answer(request: dict[str, Any]) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="cns-fork-server-") as folder:
        began, children = time.monotonic(), []
        for number, words in enumerate(request["commands"]):
            places = {name: Path(folder) / f"{name}-{number}" for name in ("stdout", "stderr")}
            child = os.fork()
            if child == 0:
                _be_child(words, request["folder"], places)
            children.append((child, places))
        answers = []
        for number, (child, places) in enumerate(children):
            code = _watch(child, [] if number else request["kills"], began)
            said = {name: place.read_text(errors="replace") if place.exists() else "" for name, place in places.items()}
            answers.append({"code": code, "seconds": time.monotonic() - began, **said})
        return answers


def _be_child(words: list[str], folder: str, places: dict[str, Path]) -> None:
    """Be the program `cns`; never returns."""
    code = 1
    try:
        for number, name in ((1, "stdout"), (2, "stderr")):
            handle = os.open(places[name], os.O_WRONLY | os.O_CREAT)
            os.dup2(handle, number)
        os.chdir(folder)
        sys.argv = ["cns", *words]
        sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        from cns_cli.start import main

        main()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def _watch(child: int, kills: list[tuple[float, int]], began: float) -> int:
    """Send the signals when they are due, and return the exit code."""
    for after, number in kills:
        while time.monotonic() < began + after:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(min(0.002, max(0.0, began + after - time.monotonic())))
        os.kill(child, number)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    serve()
