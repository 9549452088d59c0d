"""`branch` and `tag`: names for commits, made and deleted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from cns_cli.figures import a
from cns_cli.porcelain.options import Request
from cns_cli.porcelain.result import Result
from registry.errors import RegistryError, UnknownRevision
from registry.health.reachability import tips
from registry.refs import ALIASES, HEADS, TAGS
from registry.repository import Repository

RefKind = Literal["branch", "tag"]


@dataclass(frozen=True, kw_only=True)
class RefsResult(Result):
    """The names of one kind.

    Attributes:
        current: The branch that HEAD follows, None when it is detached (always None for tags).
        refs: {name: commit id}, sorted by name.
        made: The name that was made by this call, if any; `renamed`: what it was called before, of a branch that was.
        warnings: What the user should know of that name.
    """

    kind: RefKind
    current: str | None
    refs: Mapping[str, str]
    made: str | None = None
    renamed: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DeletedRef(Result):
    """A name is gone.

    Attributes:
        commit: Where it was.
        unreached: Commits that no name and no HEAD reaches without it, the newest first.
    """

    kind: RefKind
    name: str
    commit: str
    unreached: tuple[str, ...]


def unreached(repo: Repository, commit: str) -> tuple[str, ...]:
    """Commits from one on back that no ref and no HEAD reaches, newest first; none where a name cannot be read."""
    try:
        return tuple(one for one, _ in repo.index.log([commit], tips(repo.refs).values()))
    except RegistryError:
        return ()


def refs(start: Path, kind: RefKind, name: str | None = None, rev: str = "HEAD") -> RefsResult:
    """List the branches or tags, after making one when a name is given.

    Raises:
        NotARegistry, BadName, NameTaken, UnknownRevision, AmbiguousRevision, LockBusy.
    """
    repo = Repository.discover(start)
    if name is not None:
        commit = repo.resolve(rev)
        if kind == "branch":
            repo.create_branch(name, commit)
        else:
            repo.create_tag(name, commit)
    listed = repo.branches() if kind == "branch" else repo.tags()
    current = repo.head().branch if kind == "branch" else None
    said = shadowing(repo, kind, name)
    return RefsResult(kind=kind, current=current, refs=dict(sorted(listed.items())), made=name, warnings=said)


def rename_branch(request: Request, old: str | None, new: str) -> RefsResult:
    """Give a branch another name; HEAD and the branch's reflog go with it.

    Args:
        request: Where, by whom, when.
        old: The branch; None: the one that HEAD is on.
        new: What to call it.

    Raises:
        NotARegistry, BadName, NameTaken, LockBusy.
        UnknownRevision: There is no such branch, or HEAD is on none.
    """
    repo = Repository.discover(request.start)
    branch = old or repo.head().branch
    if branch is None:
        raise UnknownRevision("HEAD", "it is on no branch that could be renamed", f"cns branch -m OLD {new}")
    repo.rename_branch(branch, new, author=request.author, time=request.time)
    return replace(refs(request.start, "branch"), made=new, renamed=branch, warnings=shadowing(repo, "branch", new))


def shadowing(repo: Repository, kind: RefKind, name: str | None) -> tuple[str, ...]:
    """Say that a new name is a concept's, too: as a revision it has meant that concept, and now means the ref."""
    if name is None or name not in repo.tree_of("HEAD").concepts:
        return ()
    return (
        f"{name} is a concept, too: as a revision, {name} means the {kind} from now on; concept:{name} the concept",
    )


def shadowed(repo: Repository, name: str) -> tuple[str, ...]:
    """Say that the name of a new concept is a branch's or a tag's, too: as a revision it goes on meaning that one."""
    spaces = {"branch": HEADS, "tag": TAGS, "alias": ALIASES}
    kind = next((kind for kind, space in spaces.items() if repo.refs.get(space + name) is not None), "")
    if not kind:
        return ()
    return (f"{name} is {a(kind)}, too: as a revision, {name} means the {kind}; concept:{name} the concept",)


def delete_ref(request: Request, kind: RefKind, name: str) -> DeletedRef:
    """Delete a branch or a tag; its commits stay until they are collected as garbage.

    Raises:
        NotARegistry, BadName, UnknownRevision, LockBusy.
        BranchInUse: HEAD is on it.
    """
    repo = Repository.discover(request.start)
    delete = repo.delete_branch if kind == "branch" else repo.delete_tag
    commit = delete(name, author=request.author, time=request.time)
    return DeletedRef(kind=kind, name=name, commit=commit, unreached=unreached(repo, commit))
