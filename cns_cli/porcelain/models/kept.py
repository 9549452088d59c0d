"""A base that stays in memory from one training to the next: as if it had been loaded anew. No torch until it is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cns_cli.porcelain.models.device import asked_dtype, dtype_for
from cns_cli.porcelain.models.folder import base_folder
from registry.repository import Repository

if TYPE_CHECKING:  # it loads torch
    from cns_cli.porcelain.models.session import Session


class Kept:
    """Opens a registry's base for a training, and keeps the one that it opened last."""

    def __init__(self) -> None:
        self._session: Session | None = None
        self._asked: tuple[Any, ...] = ()

    def open(self, repo: Repository, device: str, dtype: str) -> Session:
        """Load the registry's base model, or hand out the one that is kept where it is the same.

        Whoever had it before must be done with it.

        Args:
            repo: The registry.
            device: auto, cpu, cuda or mps.
            dtype: In which number format its denoiser computes, see `Session.open`.

        Raises:
            BadConfig, BaseModelError: As `Session.open`.
        """
        from cns_cli.porcelain.models.session import Session

        base = repo.tree_of(repo.head().commit).base
        asked = (base, base_folder(repo), device, dtype_for(asked_dtype(repo, dtype), device, trains=True))
        if self._session is None or asked != self._asked:
            self._session = None  # before the next one takes as much memory
            self._session, self._asked = Session.open(repo, device, dtype=dtype, trains=True), asked
            self._session.base.model.keep_vocabulary()
        else:
            self._session.base.model.renew()
        return replace(self._session, repo=repo)
