"""`cns ui`: a real `mlflow ui` on a free port, ended by Ctrl-C with all that it started."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from registry.mirror.mirror import MlflowMirror
from registry.mirror.server import MlflowStore
from tests.cli.conftest import ROOT


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def processes_of(session: int) -> list[int]:
    """Process ids of a session, by /proc."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def children_of(process: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_it_answers_and_a_ctrl_c_ends_it_without_leaving_a_process(lineage: Any, tmp_path: Path) -> None:
    MlflowMirror(lineage.repo).sync()
    (tmp_path / "report.html").touch()
    (tmp_path / "mlflow.py").write_text("raise SystemExit('a module of the current folder was imported')\n")
    words = [sys.executable, "-c", "from cns_cli.start import main; main()"]
    words += ["ui", "--port", str(free_port()), "--json"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"}
    with subprocess.Popen(words, stdout=subprocess.PIPE, cwd=tmp_path, env=environment, text=True) as process:
        try:
            assert process.stdout is not None
            said = "".join(iter(process.stdout.readline, "}\n")) + "}"
            answer = json.loads(said)
            (server,) = children_of(process.pid)
            url, _, page = answer["url"].partition("#")
            with urllib.request.urlopen(url + "health") as response:
                assert response.status == 200
            assert page == f"/models/{MlflowStore(lineage.repo.folder, None).name}"
            assert (answer["report"], answer["started"]) == (str(tmp_path / "report.html"), True)
            assert len(processes_of(server)) > 1
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
        assert process.returncode == 0
        assert processes_of(server) == []


def test_of_a_server_the_address_is_printed_without_its_password(lineage: Any, cns: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://ann:secret@team.example:5000")
    result = cns("ui")
    assert result.exit_code == 0
    assert result.stdout == "  MLflow  https://team.example:5000\n"
    assert "  next: cns report" in result.stderr


def test_where_nothing_is_recorded_the_next_command_is_named(lineage: Any, cns: Any) -> None:
    result = cns("ui")
    assert result.exit_code == 8
    assert "nothing is recorded there yet" in result.stderr
    assert "cns mlflow sync" in result.stderr


def test_a_database_that_only_a_received_config_names_is_not_opened(lineage: Any, cns: Any) -> None:
    lineage.repo.set_config("mlflow.tracking_uri", "sqlite:////elsewhere/mlflow.db")
    result = cns("ui")
    assert result.exit_code == 8
    assert "only mlflow.tracking_uri of config.toml names it" in result.stderr


def test_a_port_that_is_taken_is_refused(lineage: Any, cns: Any) -> None:
    (lineage.repo.folder / "mlflow.db").touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = cns("ui", "--port", str(port))
    assert result.exit_code == 4
    assert f"port {port} of 127.0.0.1 cannot be used" in result.stderr
    assert f"  try: cns ui --port {port + 1}" in result.stderr
