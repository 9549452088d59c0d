"""Runs `cns` as a user does, in a process of its own, and keeps the times, the peak memory and the answer."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENVIRONMENT = {
    "CNS_AUTHOR": "bench",
    "COLUMNS": "100",
    "HF_HUB_OFFLINE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "NO_COLOR": "1",
}


@dataclass(frozen=True)
class Ran:
    """One command that ended.

    Attributes:
        line: As typed.
        code: Exit code.
        elapsed_s: Wall-clock seconds, imports included.
        cpu_s: Processor seconds of the process and those that it waited for: what else the machine does changes them
            less.
        peak_bytes: Largest resident set of the process.
        stdout: What it answered.
        stderr: What it said on the way.
    """

    line: str
    code: int
    elapsed_s: float
    cpu_s: float
    peak_bytes: int
    stdout: str
    stderr: str

    @property
    def json(self) -> dict[str, Any]:
        """The answer of a command run with --json."""
        return dict(json.loads(self.stdout))


def cns(
    line: str, folder: Path, *, expect: tuple[int, ...] = (0,), threads: int | None = None, source: Path | None = None
) -> Ran:
    """Run `cns …` in a folder.

    Args:
        line: As typed, from `cns` on.
        folder: The current folder of the command.
        expect: Exit codes that are an answer; any other stops the benchmark.
        threads: On how many it computes; None: as torch has it.
        source: Folder of the code to run; None: of this build.

    Raises:
        SystemExit: Another exit code; the message carries what the command said.
    """
    own = {"OMP_NUM_THREADS": str(threads)} if threads else {}
    own |= {"PYTHONPATH": str(source)} if source else {}
    ran = program([sys.executable, "-m", "cns_cli", *shlex.split(line)[1:]], folder, line, own)
    if ran.code not in expect:
        raise SystemExit(f"`{line}` ended with {ran.code}\n{ran.stdout}{ran.stderr}")
    return ran


def program(command: list[str], folder: Path, line: str = "", own: Mapping[str, str] | None = None) -> Ran:
    """Run any program to its end, as `cns` does."""
    started, before_s = time.perf_counter(), _children_s()
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | ENVIRONMENT | dict(own or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    stdout, stderr, peak_bytes = _drain(process)
    elapsed_s, cpu_s = time.perf_counter() - started, _children_s() - before_s
    return Ran(line or shlex.join(command), process.returncode, elapsed_s, cpu_s, peak_bytes, stdout, stderr)


def _children_s() -> float:
    """Processor seconds of all children that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def _drain(process: subprocess.Popen[str]) -> tuple[str, str, int]:
    """Read a process to its end; its peak memory comes from the kernel's account of it (Linux; 0 elsewhere)."""
    peak_bytes = 0
    status = Path(f"/proc/{process.pid}/status")
    while True:
        try:
            stdout, stderr = process.communicate(timeout=0.05)
        except subprocess.TimeoutExpired:
            peak_bytes = max(peak_bytes, _high_water(status))
            continue
        return stdout, stderr, peak_bytes


def _high_water(status: Path) -> int:
    """Return VmHWM of a live process in bytes, 0 when it cannot be read."""
    try:
        lines = status.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)
