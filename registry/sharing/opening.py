"""From an address to a remote: one table of schemes, and what no address may hold.

Names and passwords are not part of an address here: what libraries need of them they read from the environment, so
that none gets into a settings file, a log or an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from registry.errors import RemoteUnavailable
from registry.sharing.remote import Remote

SERVERS = ("http", "https")
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)


def open_remote(address: str, name: Callable[[], str] = str) -> Remote:
    """Return the remote at an address: a URL, or the path of a folder or of a bundle.

    Args:
        address: Where it is.
        name: Returns what a first push calls the lineage on a tracking server, where the address does not say.

    Raises:
        RemoteUnavailable: it holds credentials, nothing here knows its scheme, or what that needs is not installed.
    """
    check_address(address)
    scheme = scheme_of(address)
    if scheme in ("", "file"):
        path = local_path(address)
        if path.is_file():
            from registry.sharing.bundle import BundleRemote

            return BundleRemote(path)
        from registry.sharing.folder import FolderRemote

        return FolderRemote(path)
    if _is_mlflow(address):
        from registry.mirror.remote import MlflowRemote

        return MlflowRemote(address, name)
    from registry.sharing.fsspec_remote import FsspecRemote

    return FsspecRemote(address)


def scheme_of(address: str) -> str:
    """Return the scheme of an address in lower case; empty for a path."""
    match = _SCHEME.match(address)
    return match[1].lower() if match else ""


def local_path(address: str) -> Path:
    """Return the path that a `file://` URL or a path means, whole."""
    if scheme_of(address) == "file":
        parts = _parts(address)
        if parts.netloc not in ("", "localhost"):
            raise RemoteUnavailable(shown(address), "it names another machine; expected file:///path, or the path")
        return Path(unquote(parts.path))
    return Path(address).expanduser().resolve()


def shown(address: str) -> str:
    """Return an address as it may be written anywhere: without user information and without a query."""
    if not scheme_of(address):
        return address
    parts = _parts(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


def check_address(address: str) -> None:
    """Refuse an address that holds credentials, or may.

    Raises:
        RemoteUnavailable: and what it says holds none.
    """
    if not scheme_of(address):
        return
    parts = _parts(address)
    database = scheme_of(address).split("+")[0] in DATABASES  # where a user alone is a name and no token
    if parts.password is not None or (parts.username is not None and not database) or parts.query:
        if database:
            variables = "PGPASSWORD, or write the file ~/.pgpass"
        elif _is_mlflow(address):
            variables = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        else:
            variables = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, HF_TOKEN, or what the library of its scheme reads"
        reason = "its address holds a user, a password or a query; expected none: the environment has them"
        raise RemoteUnavailable(shown(address), reason, f"set {variables}")


def _parts(address: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError as error:  # which quotes it
        raise RemoteUnavailable(f"{scheme_of(address)}://…", "its address is no URL; expected one") from error


def _is_mlflow(address: str) -> bool:
    return scheme_of(address).removeprefix("mlflow+").split("+")[0] in (*SERVERS, *DATABASES)
