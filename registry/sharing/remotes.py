"""The remotes of a registry by name, and whether its user named them here.

They stand in `config.toml`, which may have come with the folder from anybody, with an address that would be sent
training images. So beside each address stands a check of it, of this very folder (device and inode) and of the user;
a copy of the folder, or the folder under another user, has none that fits, and its remotes are not contacted until
they are set again. `registry.trust` lifts that.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from registry import config, trust
from registry.addresses import shown
from registry.errors import BadName, RegistryError
from registry.reflog import ReflogEntry
from registry.refs import REMOTES
from registry.repository import Repository
from registry.sharing.opening import check_address, local_path, scheme_of

DEFAULT = "origin"
TABLE = "remote"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_EXPECTED = "1 to 64 of A-Z a-z 0-9 _ - starting with a letter or digit"


class UnknownRemote(RegistryError):
    """There is no remote of that name, or none at all."""

    def __init__(self, name: str, known: list[str]) -> None:
        self.name = name
        self.known = known
        listed = f"one of: {', '.join(known)}" if known else "one to be added first"
        hint = "cns remote list" if known else f"cns remote add {name} URL"
        if not _NAME.fullmatch(name):  # an address, in the place of a remote's name
            hint = f"cns remote add {DEFAULT if DEFAULT not in known else 'NAME'} {shlex.quote(shown(name))}"
        super().__init__(f"no remote '{shown(name)}': expected {listed}", hint)


class RemoteTaken(RegistryError):
    """There is a remote of that name."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"there is a remote '{name}': expected a new name", f"cns remote set-url {name} URL")


class RemoteUntrusted(RegistryError):
    """The address of a remote came with this folder; nobody named it here."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address
        super().__init__(
            f"the remote '{name}' at {address} is not contacted: that address came with this folder, or the folder "
            "was copied; expected one that you set here",
            f"cns remote set-url {name} {address}",
        )


@dataclass(frozen=True)
class NamedRemote:
    """A remote by its name; `here` says whether this user set its address in this very folder."""

    name: str
    address: str
    here: bool


def named(repo: Repository) -> dict[str, NamedRemote]:
    """Return the remotes, by name. What is damaged in the settings is left out."""
    table = config.lookup(repo.config, TABLE, {})
    found = {}
    for name, facts in sorted(table.items() if isinstance(table, dict) else ()):
        address = facts.get("url") if isinstance(facts, dict) else None
        if isinstance(address, str) and address and _NAME.fullmatch(name):
            here = facts.get("here") == _check(repo.folder, address) or trust.is_trusted(repo.root)
            found[name] = NamedRemote(name, address, here)
    return found


def get(repo: Repository, name: str | None = None) -> NamedRemote:
    """Return the remote of a name; None: the only one, or `origin`.

    Raises:
        UnknownRemote, RemoteUntrusted.
    """
    known = named(repo)
    wanted = name or (next(iter(known)) if len(known) == 1 else DEFAULT)
    if wanted not in known:
        raise UnknownRemote(wanted, list(known))
    if not known[wanted].here:
        raise RemoteUntrusted(wanted, shown(known[wanted].address))
    return known[wanted]


def add(repo: Repository, name: str, address: str) -> None:
    """Name a remote; raises BadName, RemoteTaken, RemoteUnavailable (the address holds credentials)."""
    if name in named(repo):
        raise RemoteTaken(name)
    _write(repo, name, address)


def set_address(repo: Repository, name: str, address: str) -> None:
    """Give a remote another address, or say that its own is meant; raises UnknownRemote, RemoteUnavailable."""
    if name not in (known := named(repo)):
        raise UnknownRemote(name, list(known))
    _write(repo, name, address)


def remove(repo: Repository, name: str, *, author: str, time: int) -> None:
    """Forget a remote and where its branches were; raises UnknownRemote."""
    if name not in (known := named(repo)):
        raise UnknownRemote(name, list(known))
    with repo.locked():
        config.change(repo.folder / "config.toml", f"{TABLE}.{name}", None)
        for branch, commit in seen(repo, name).items():
            ref = f"{REMOTES}{name}/{branch}"
            repo.reflogs.append(ref, ReflogEntry(commit, None, author, time, "remote: removed"))
            repo.refs.compare_and_swap(ref, commit, None)


def seen(repo: Repository, name: str) -> dict[str, str]:
    """Return {branch: commit id} of a remote's branches, as they were seen last."""
    space = f"{REMOTES}{name}/"
    return {ref.removeprefix(space): at for ref, at in repo.refs.all(REMOTES).items() if ref.startswith(space)}


def settings_of(folder: Path, address: str) -> dict[str, str]:
    """Return what config.toml holds of a remote of the registry in a `.cns` folder.

    Raises:
        RemoteUnavailable: the address holds credentials.
    """
    check_address(address)
    whole = address if scheme_of(address) else str(local_path(address))
    return {"url": whole, "here": _check(folder, whole)}


def _write(repo: Repository, name: str, address: str) -> None:
    if not _NAME.fullmatch(name):
        raise BadName("the name of a remote", name, _EXPECTED)
    settings = settings_of(repo.folder, address)
    with repo.locked():
        config.change(repo.folder / "config.toml", f"{TABLE}.{name}", settings)


def _check(folder: Path, address: str) -> str:
    found = folder.stat()
    user = os.geteuid() if hasattr(os, "geteuid") else ""
    return hashlib.sha256(f"{address}\n{found.st_dev} {found.st_ino} {user}".encode()).hexdigest()[:16]
