"""From an address to a remote: one table of schemes, and what no address may hold.

Names and passwords are not part of an address here: what libraries need of them they read from the environment, so
that none gets into a settings file, a log or an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

from registry.addresses import has_secret, shown
from registry.sharing.remote import Remote, RemoteUnavailable

SERVERS = ("http", "https")  # MLflow's; `mlflow+https` is the same

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
    if scheme.removeprefix("mlflow+") in SERVERS:
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
        host, slash, path = address[len("file://") :].partition("/")
        if host not in ("", "localhost"):
            raise RemoteUnavailable(shown(address), "it names another machine; expected file:///path, or the path")
        return Path(unquote(slash + path))
    return Path(address).expanduser().resolve()


def check_address(address: str) -> None:
    """Refuse an address that holds credentials, or may.

    Raises:
        RemoteUnavailable: and what it says holds none.
    """
    if scheme_of(address) and has_secret(address):
        variables = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, HF_TOKEN, or what the library of its scheme reads"
        if scheme_of(address).removeprefix("mlflow+") in SERVERS:
            variables = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        reason = "its address holds a user, a password or a query; expected none: the environment has them"
        raise RemoteUnavailable(shown(address), reason, f"set {variables}")
