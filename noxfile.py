"""The sessions of this repository: `nox -l` lists them, `nox -s NAME` runs one.

Every session that imports the project uses one environment, which the session `project` makes: torch is large, and
nobody should install it six times. `project` runs by itself when it is needed, and does nothing while pyproject.toml
and constraints.txt are as they were. All installs obey constraints.txt.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.reuse_venv = "yes"
# Not uv: it does not read pip's configuration, so it would fetch a CUDA build where pip is set up for a CPU wheel.
nox.options.default_venv_backend = "virtualenv"
nox.options.sessions = ["lint", "types", "tests", "docs", "site"]

PYPROJECT = nox.project.load_toml("pyproject.toml")
PACKAGES = ["cns", "registry", "cns_cli"]
ENVIRONMENT = {
    # No session needs a network once it is installed; a hub that cannot be reached must not cost a time-out.
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
OLDER = ("diffusers==0.35.2", "huggingface-hub==0.36.0", "peft==0.17.1", "tokenizers==0.22.1", "transformers==4.57.6")
"""What most installed programs draw with: the last of transformers 4, and what goes with it."""

SDCPP = "stable-diffusion-cpp-python==0.4.7"

_project_bin = Path()


def _groups(*names: str) -> list[str]:
    """Return the requirements of some dependency groups of pyproject.toml."""
    return [requirement for name in names for requirement in nox.project.dependency_groups(PYPROJECT, name)]


def _run(session: nox.Session, *command: str | Path, **env: str) -> None:
    """Run a program of the shared environment; `python` and `cns` are found there first."""
    path = os.pathsep.join([str(_project_bin), os.environ.get("PATH", "")])
    program = _project_bin / str(command[0])
    session.run(program, *command[1:], env={**ENVIRONMENT, "PATH": path, **env}, external=True)


@nox.session(default=False)
def project(session: nox.Session) -> None:
    """Make the environment that the other sessions share (they call this one themselves)."""
    global _project_bin
    _project_bin = Path(session.bin)
    described = Path("pyproject.toml").read_bytes() + Path("constraints.txt").read_bytes() + sys.version.encode()
    stamp = _project_bin.parent / "installed.sha256"
    digest = hashlib.sha256(described).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        session.log("The environment is up to date.")
        return
    stamp.unlink(missing_ok=True)
    session.install("-c", "constraints.txt", "-e", ".", *_groups("test", "types", "docs", "site", "base", "peers"))
    stamp.write_text(digest)


@nox.session(venv_backend="none", requires=["project"])
def demo(session: nox.Session) -> None:
    """Teach the embedded base two concepts, picture both, walk the history, check that nothing is forgotten."""
    _run(session, "python", "demo.py", *session.posargs)


@nox.session(venv_backend="none", requires=["project"])
def tests(session: nox.Session) -> None:
    """Run the tests in two processes of one thread; arguments after -- go to pytest (`-n 0`: in one process)."""
    parallel = ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]  # in the order of tests/conftest.py
    _run(session, "python", "-m", "pytest", *parallel, *session.posargs, OMP_NUM_THREADS="1")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting with ruff; `-- --fix` repairs what can be repaired."""
    session.install("-q", "-c", "constraints.txt", *_groups("lint"))
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", *([] if "--fix" in session.posargs else ["--check"]))


@nox.session(venv_backend="none", requires=["project"])
def types(session: nox.Session) -> None:
    """Check the types of the packages and the benchmarks with mypy."""
    _run(session, "python", "-m", "mypy", *session.posargs)


@nox.session(venv_backend="none", requires=["project"])
def docs(session: nox.Session) -> None:
    """Fail when generated text in README.md or docs/ is stale; `-- --write` regenerates it."""
    _run(session, "python", "-m", "docs.generate", *(session.posargs or ["--check"]))


@nox.session(venv_backend="none", requires=["project"])
def site(session: nox.Session) -> None:
    """Build the documentation as a site, build/site/index.html; fails on a link or an anchor that leads nowhere."""
    _run(session, "python", "-m", "docs.site")


@nox.session(venv_backend="none", requires=["project"])
def cover(session: nox.Session) -> None:
    """Run the tests under coverage; the registry must stay at 95 % or above."""
    _run(session, "python", "-m", "coverage", "erase")
    _run(session, "python", "-m", "coverage", "run", "-m", "pytest", *session.posargs)
    _run(session, "python", "-m", "coverage", "combine", "-q")
    _run(session, "python", "-m", "coverage", "report", "--include=registry/*", "--fail-under=95")
    _run(session, "python", "-m", "coverage", "report")


@nox.session(venv_backend="none", requires=["project"], default=False)
def torture(session: nox.Session) -> None:
    """Kill, fill, cut and crowd registries, and print what was lost: `-- R1 R3`, `-- --size full` (a night)."""
    if "full" in session.posargs:
        _run(session, "python", "-m", "pip", "install", "-q", "-c", "constraints.txt", *_groups("torture"))
    _run(session, "python", "-m", "tests.torture", *session.posargs)


@nox.session(venv_backend="none", requires=["project"], default=False)
def consumers(session: nox.Session) -> None:
    """Read exports by every program that pip installs, and write down what was seen (it takes 15 GB of disk)."""
    older, sdcpp = (_project_bin.parent / name for name in ("older", "sdcpp"))
    _run(session, "python", "-m", "pip", "install", "-q", "--upgrade", "--no-deps", "--target", older, *OLDER)
    if not sdcpp.exists():  # it is compiled, which takes a quarter of an hour
        _run(session, "python", "-m", "pip", "install", "-q", "--no-deps", "--target", sdcpp, SDCPP)
    _run(session, "python", "-m", "tests.consumers", older, sdcpp)


@nox.session(venv_backend="none", requires=["project"])
def bench(session: nox.Session) -> None:
    """Measure start-up, commits, generation and learning; writes docs/benchmarks/*.json (`-- NAME` for one)."""
    _run(session, "python", "-m", "benchmarks", *session.posargs)


@nox.session(venv_backend="none", requires=["project"])
def base_model(session: nox.Session) -> None:
    """Train the embedded base from nothing and package it: a maintainer's session of hours, resumable."""
    _run(session, "python", "-m", "base_model", *(session.posargs or ["run"]))
