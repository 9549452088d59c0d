"""A base that stays in memory from one concept to the next: as if it had been loaded anew. No torch until it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import psutil

from cns.files.bases import describe_base
from cns_cli.porcelain.models.device import asked_dtype, dtype_for
from cns_cli.porcelain.models.folder import base_folder
from registry.repository import Repository

if TYPE_CHECKING:  # it loads torch
    from cns_cli.porcelain.models.base import LoadedBase
    from cns_cli.porcelain.models.session import Session

_Base = TypeVar("_Base", "Session", "LoadedBase")


class Kept:
    """Opens bases for trainings, and keeps the one that it opened last. Whoever had that must be done with it.

    Attributes:
        beside_bytes: Memory that this process took before any base: libraries, mostly.
        once: Calls a function with arguments, once for each while the base is the same; they are known by hash.
    """

    beside_bytes = 0

    def __init__(self) -> None:
        self.once = cache(_call)
        self._held: Any = None
        self._asked: tuple[Any, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing was opened yet."""
        return self._held is None

    def open(self, repo: Repository, device: str, dtype: str, checked: Callable[[], object] | None = None) -> Session:
        """Load the registry's base model, or hand out the one that is kept where it is the same.

        Args:
            repo: The registry.
            device: auto, cpu, cuda or mps.
            dtype: In which number format its denoiser computes, see `Session.open`.
            checked: As of `Session.open`.

        Raises:
            BadConfig, BaseModelError: As `Session.open`.
        """
        from cns_cli.porcelain.models.session import Session

        base = repo.tree_of(repo.head().commit).base
        asked = (base, base_folder(repo), device, dtype_for(asked_dtype(repo, dtype), device, trains=True))
        load = partial(Session.open, repo, device, dtype=dtype, trains=True, checked=checked)
        return replace(self._kept(asked, load), repo=repo)

    def bare(self, folder: Path, device: str, dtype: str) -> LoadedBase:
        """Load the base of a registry that is still to be made, or hand it out.

        Args:
            folder: The base's.
            device: auto, cpu, cuda or mps.
            dtype: As typed.
        """
        from cns_cli.porcelain.models.base import LoadedBase

        dtype = dtype_for(dtype, device, trains=True)
        load = lambda: LoadedBase.open(folder, describe_base(folder), device, dtype)  # noqa: E731
        return self._kept((folder, device, dtype), load)

    def _kept(self, asked: tuple[Any, ...], load: Callable[[], _Base]) -> _Base:
        self.beside_bytes = self.beside_bytes or psutil.Process().memory_info().rss
        fresh = asked != self._asked
        if fresh:
            self._held, self._asked = None, ()  # before the next one takes as much memory
            self.once.cache_clear()
            self._held, self._asked = load(), asked
        model = getattr(self._held, "base", self._held).model
        model.keep_vocabulary() if fresh else model.renew()
        held: _Base = self._held
        return held


def _call(function: Callable[..., Any], *given: Any) -> Any:
    return function(*given)
