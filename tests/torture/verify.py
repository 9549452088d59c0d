"""Full verification of a registry by a walk of its own: everything that refs reach is read, hashed and compared.

The walk shares no code with `cns fsck`, so that neither can hide a fault of the other; `fsck` is asked as well. MLflow
is not looked at.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from registry.health.fsck import fsck
from registry.objects import Commit, Tree
from registry.refs import NAMESPACES
from registry.repository import Repository
from registry.trees import check_tree


class Broken(Exception):
    """The registry is neither as before nor as after."""


@dataclass(frozen=True)
class State:
    """What a registry says: its refs, where HEAD is, and its settings."""

    refs: tuple[tuple[str, str], ...]
    head: tuple[str | None, str | None]
    config: str


def state_of(repository: Repository) -> State:
    """Read everything that a registry can be asked for, and return what it says.

    Raises:
        Broken: an invariant does not hold. RegistryError: something cannot be read.
    """
    refs = repository.refs.all(*NAMESPACES)
    head = repository.head()
    seen: set[str] = set()
    waiting = [*refs.values(), head.commit]
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        found = repository.objects.load(current)
        if isinstance(found, Tree):
            check_tree(found, repository.objects)
        waiting += found.links()
    _check_commits(repository, {*refs.values(), head.commit} & seen)
    for name in ("HEAD", *refs):
        if not name.startswith("refs/evaluations/"):
            _check_reflog(repository, name, head.commit if name == "HEAD" else refs[name])
    return State(tuple(sorted(refs.items())), repository.refs.head(), repr(repository.config))


def check_with_fsck(repository: Repository) -> None:
    """Ask `fsck`, too: what a crash leaves may be worth a word, and is no damage."""
    report, _ = fsck(repository.folder)
    for finding in report.findings:
        if finding.level == "error":
            raise Broken(f"fsck: {finding.code} in {finding.path}: {finding.what}")


def _check_commits(repository: Repository, tips: set[str]) -> None:
    """Compare what the index says about history with what the objects say."""
    commits = {tip for tip in tips if repository.objects.kind_of(tip) == "commit"}
    for commit_id, commit in repository.index.log(commits):
        if repository.objects.get(commit_id, Commit) != commit:
            raise Broken(f"the index has another commit {commit_id[:10]}")


def _check_reflog(repository: Repository, name: str, value: str) -> None:
    moves = repository.reflogs.read(name, value)
    if not moves or moves[0].new != value:
        raise Broken(f"the reflog of {name} does not end at {value[:10]}")
    for newer, older in itertools.pairwise(moves):
        if newer.old != older.new:
            raise Broken(f"the reflog of {name} has a gap before {newer.message!r}")
    last = len(repository.reflogs.path(name).read_bytes().splitlines())
    if any(number != last for number in repository.reflogs.damaged(name)):
        raise Broken(f"the reflog of {name} is damaged before its last line")
