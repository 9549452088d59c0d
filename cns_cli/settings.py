"""What the environment says: the only module of the program that reads it, besides the libraries themselves.

Order of precedence: an option, then the environment, then the registry's `config.toml`, then a default.

| variable | means |
|---|---|
| `CNS_AUTHOR` | who commits; else `user.name` of the registry's config, else the login name |
| `SOURCE_DATE_EPOCH` | the time to write into commits, seconds since 1970; for reproducible documents and tests |
| `MLFLOW_TRACKING_URI` | MLflow server that commits are recorded on, instead of the registry's own file |
| `CNS_TRUST` | folders whose `.cns` may belong to others, lead out of itself by links, or name a server; `*`: all |
| `CNS_BASE` | where a machine that serves a promoted model has its base model: a folder, or a hub id that is here |
| `GITHUB_ACTIONS`, `GITHUB_STEP_SUMMARY` | `cns check` writes annotations and the job's summary |
| `SHELL`, `XDG_DATA_HOME`, `XDG_CONFIG_HOME`, `ZDOTDIR` | whose completion, and where `cns completion` puts it |
| `RAY_ADDRESS` | the cluster that `--engine ray` computes on; else it is this machine |
| `OMP_NUM_THREADS` | threads of a command on a CPU, which several processes share |
| `NO_COLOR` | no colour |
| `CNS_PAGER`, `PAGER` | what shows long answers on a terminal, else `less -FRX`; empty or `cat`: nothing does |
| `LESS` | options of `less`; where it is not set, a pager finds `FRX` there |
| `TERM=dumb` | no colour, no moving progress bar, no pager |
"""

from __future__ import annotations

import os
import secrets
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO, TypedDict


class SettingsError(Exception):
    """A variable of the environment cannot be meant as it is.

    Attributes:
        variable: Its name.
        value: What it holds.
        hint: The next command.
    """

    def __init__(self, variable: str, value: str, expected: str) -> None:
        super().__init__(f"{variable} is {value!r}; expected {expected}")
        self.variable = variable
        self.value = value
        self.hint = f"unset {variable}"


class RequestSettings(TypedDict):
    """The keywords that every options object of `cns_cli.porcelain.options` takes from the shell."""

    start: Path
    author: str
    time: int | None
    mlflow_uri: str | None


def request_settings(config: Mapping[str, Any] | None = None) -> RequestSettings:
    """Return what the environment says for one request, made in the current folder.

    Args:
        config: The registry's `config.toml`; None looks for a registry from the current folder upwards.

    Raises:
        SettingsError: a variable holds something that cannot be meant.
    """
    start = Path.cwd()
    return {
        "start": start,
        "author": author(_config_near(start) if config is None else config),
        "time": commit_time(),
        "mlflow_uri": os.environ.get("MLFLOW_TRACKING_URI") or None,
    }


def trusted_folders() -> list[str]:
    """Return the folders whose registries may do more than hold models; `*` stands for all. See `registry.trust`."""
    return [folder for folder in os.environ.get("CNS_TRUST", "").split(os.pathsep) if folder]


def served_base() -> str | None:
    """Return where this machine has the base of the model that it serves, or None: where the registry said."""
    return os.environ.get("CNS_BASE") or None


def shell() -> str:
    """Return the program of the user's shell; empty where none is named."""
    return os.environ.get("SHELL", "")


def user_folders() -> tuple[Path, Path]:
    """Return where programs of this user find data, and settings."""
    data, config = os.environ.get("XDG_DATA_HOME"), os.environ.get("XDG_CONFIG_HOME")
    return Path(data or Path.home() / ".local" / "share"), Path(config or Path.home() / ".config")


def zsh_folder() -> Path:
    """Return the folder of `.zshrc`."""
    return Path(os.environ.get("ZDOTDIR") or Path.home())


def author(config: Mapping[str, Any]) -> str:
    """Return who commits."""
    named = os.environ.get("CNS_AUTHOR", "").strip() or str(_lookup(config, "user", "name")).strip()
    if named:
        return named
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container may run under a user id without a name
        return "unknown"


def commit_time() -> int | None:
    """Return the time that SOURCE_DATE_EPOCH asks for, or None for the clock.

    Raises:
        SettingsError: it is not a whole number of seconds >= 0.
    """
    text = os.environ.get("SOURCE_DATE_EPOCH", "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise SettingsError("SOURCE_DATE_EPOCH", text, "a whole number of seconds since 1970")
    return int(text)


def colour_wanted(stream: TextIO) -> bool:
    """Tell whether colour codes may be written to a stream: a terminal that is not dumb, and no NO_COLOR."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def live_wanted(stream: TextIO) -> bool:
    """Tell whether a moving progress bar may be drawn on a stream."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def pager(stream: TextIO) -> list[str]:
    """Return the words of the command that shows long answers on a stream; none for what is no terminal.

    Raises:
        SettingsError: a quotation mark in it is not closed.
    """
    variable = "CNS_PAGER" if "CNS_PAGER" in os.environ else "PAGER"
    command = os.environ.get(variable, "less -FRX").strip()
    if command in ("", "cat") or not stream.isatty() or os.environ.get("TERM") == "dumb":
        return []
    try:
        return shlex.split(command)
    except ValueError:
        raise SettingsError(variable, command, "a program and its options") from None


def pager_environment() -> dict[str, str]:
    """Return the environment of a pager: ours, and for a `less` without options of the user's those of our default."""
    return {"LESS": "FRX", **os.environ}


def ray_address() -> str | None:
    """Return where the cluster is that Ray computes on, or None: there is none."""
    return os.environ.get("RAY_ADDRESS") or None


def threads() -> int | None:
    """Return how many threads torch was told to take, or None: as many as there are cores."""
    text = os.environ.get("OMP_NUM_THREADS", "")
    return int(text) if text.isdigit() and int(text) else None


def prepare_ray() -> None:
    """Have Ray, which reads its variables when it is imported, tell nobody that it is used, and obey nobody but us."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not ray_address():  # else it would write a token into the user's home
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def github_actions() -> bool:
    """Tell whether this runs in a job of GitHub Actions."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def github_summary() -> Path | None:
    """Return the file that a job of GitHub Actions shows as its summary, if there is one."""
    place = os.environ.get("GITHUB_STEP_SUMMARY")
    return Path(place) if place else None


def _lookup(config: Mapping[str, Any], table: str, key: str) -> Any:
    inner = config.get(table)
    return inner.get(key, "") if isinstance(inner, Mapping) else ""


def _config_near(start: Path) -> Mapping[str, Any]:
    from registry.errors import NotARegistry
    from registry.repository import Repository

    try:
        return Repository.discover(start).config
    except NotARegistry:
        return {}
