"""`switch`: put HEAD on a branch, and on nothing else."""

from __future__ import annotations

import contextlib
from pathlib import Path

from cns_cli.porcelain.checkout import CheckoutResult, checkout
from registry.errors import RegistryError
from registry.repository import Repository


class NotABranch(RegistryError):
    """HEAD is to be on a branch, and this is none."""

    def __init__(self, name: str, hint: str) -> None:
        self.name = name
        super().__init__(f"'{name}' is not a branch: expected one of those that cns branch lists", hint)


def switch(start: Path, name: str, rev: str = "HEAD", *, create: bool = False) -> CheckoutResult:
    """Move HEAD onto a branch.

    Args:
        start: Folder to look for the registry from.
        name: Of the branch; "-" for the one that HEAD was on before.
        rev: Where the branch is made.
        create: Make it first.

    Raises:
        NotARegistry, BadName, NameTaken, UnknownRevision, AmbiguousRevision, LockBusy.
        NotABranch: nothing was moved.
    """
    if create:
        return checkout(start, rev, create=name)
    repo = Repository.discover(start)
    wanted = repo.previous() if name == "-" else name
    if wanted in repo.branches():
        return checkout(start, wanted)
    hint = f"cns switch -c {wanted}"
    with contextlib.suppress(RegistryError):
        repo.resolve(wanted)
        hint = f"cns checkout {name}"
    raise NotABranch(wanted, hint)
