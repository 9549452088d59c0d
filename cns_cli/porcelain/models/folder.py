"""Where the base model of a registry lies on this machine. No torch, and no network.

`config.toml` says it, and may have come with the registry from anybody. So it is asked for files that are here already,
whose digests are compared with the registry's base; nothing is fetched because a file said so.
"""

from __future__ import annotations

from pathlib import Path

from cns.errors import BaseModelError
from cns.files.bases import check_base, resolve_base
from registry import config, trust
from registry.errors import BadConfig
from registry.objects import Base
from registry.repository import Repository


def base_folder(repo: Repository) -> Path:
    """Return the folder of a registry's base model.

    Raises:
        BadConfig: `config.toml` does not say where it is.
        BaseModelError: it is not on this machine. (A trusted registry may have it fetched; see `registry.trust`.)
    """
    path = repo.folder / "config.toml"
    source = config.text(path, repo.config, "base.source")
    if source is None:
        raise BadConfig(path, "it lacks base.source; expected emoji-64, a folder, or a hub id")
    try:
        return resolve_base(source, local_files_only=not trust.is_trusted(repo.root))
    except BaseModelError as error:
        if Path(source).is_absolute() and not Path(source).exists():
            error.hint = "say where it is now: cns config base.source PATH"
        elif "/" in source and not Path(source).is_absolute():
            hub_id, at, revision = source.partition("@")
            what = f"{hub_id} --revision {revision}" if at else hub_id
            error.hint = f"fetch it first: hf download {what}; or name its folder as base.source in {path}"
        raise


def check_own_base(repo: Repository) -> None:
    """Make sure that the base which is here is the one that the registry was made on; raises BaseModelError if not."""
    check_base(base_folder(repo), repo.objects.get(repo.tree_of(repo.head().commit).base, Base).components)
