"""Revisions: what a person types for a commit.

In this order: HEAD, a branch, a tag, an alias, `concept:NAME` (the commit that last introduced that concept), a unique
prefix of at least 7 hex digits; the bare name of a concept where nothing else fits. Behind any of them, from left to
right: `~n` (n first parents back), `^n` (the n-th parent), `@{n}` (the value of a ref n moves ago; only behind HEAD, a
branch or an alias). Two meanings are an error that lists them, unless they mean the same commit.

Ranges have git's meanings: `A..B` is what B reaches and A does not, `A...B` what one of the two reaches and the other
does not; a side that is left out is HEAD.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Protocol

from registry.dag import merge_bases
from registry.errors import SHORT, RegistryError, UnknownRevision
from registry.index import Index
from registry.names import is_name, is_ref_name
from registry.objects import Tree
from registry.reflog import ReflogEntry
from registry.refs import ALIASES, COMMITS, HEADS, NAMESPACES, REMOTES, TAGS, Head, Refs
from registry.store import ObjectStore

SHORTEST_PREFIX = 7
LONGEST = 512

_SUFFIX = re.compile(r"~(\d{0,9})|\^(\d{0,9})|@\{(\d{1,9})\}")
_SUFFIXES = re.compile(r"(?:~\d{0,9}|\^\d{0,9}|@\{\d{1,9}\})*")
_PREFIX = re.compile(r"[0-9a-f]{7,64}")


class AmbiguousRevision(RegistryError):
    """`revision` has more than one meaning."""

    def __init__(self, revision: str, meanings: Sequence[tuple[str, str]]) -> None:
        self.revision = revision
        self.meanings = tuple(meanings)
        listed = ", ".join(f"{what} ({commit[:SHORT]})" for what, commit in meanings)
        super().__init__(
            f"'{revision}' is ambiguous: it is {listed}; expected one meaning", f"cns show {self.meanings[0][0]}"
        )


class Source(Protocol):
    """What a revision is looked up in."""

    refs: Refs
    index: Index

    @property
    def objects(self) -> ObjectStore:
        """The objects."""

    def head(self) -> Head:
        """Return where HEAD is."""

    def reflog(self, ref: str = "HEAD") -> list[ReflogEntry]:
        """Return the moves of a ref, newest first."""


def commits_of(source: Source, text: str) -> tuple[list[str], list[str]]:
    """Return (included, excluded) of a revision or a range: it means what the first reach and the second do not.

    Raises:
        UnknownRevision, AmbiguousRevision: one of its sides.
    """
    left, dots, right = text.partition("...") if "..." in text else text.partition("..")
    if not dots:
        return [resolve(source, text)], []
    one, other = (resolve(source, side or "HEAD") for side in (left, right))
    if dots == "..":
        return [other], [one]
    return [one, other], merge_bases(one, other, source.index.parents)


def resolve(source: Source, revision: str) -> str:
    """Return the commit id that a revision means.

    Raises:
        UnknownRevision: none. AmbiguousRevision: several.
    """
    if not revision or len(revision) > LONGEST:
        raise UnknownRevision(revision[:40], f"expected 1 to {LONGEST} characters")
    base, suffixes = _split(revision)
    first = _SUFFIX.match(suffixes)
    if first is not None and first.group(3) is not None:
        current = _value_before(source, base or "HEAD", int(first.group(3)), revision)
        suffixes = suffixes[first.end() :]
    else:
        current = _base(source, base, revision)
    for match in _SUFFIX.finditer(suffixes):
        if match.group(3) is not None:
            raise UnknownRevision(revision, "expected @{n} right behind HEAD, a branch or an alias", "cns log")
        current = _step(source, current, match, revision, base)
    return current


def _split(revision: str) -> tuple[str, str]:
    """Split 'main~2^2' in 'main' and '~2^2'; '@' alone is HEAD."""
    start = next((at for at in range(len(revision)) if _SUFFIXES.fullmatch(revision, at)), len(revision))
    base, suffixes = revision[:start], revision[start:]
    return ("HEAD" if base == "@" else base), suffixes


def _base(source: Source, name: str, revision: str) -> str:
    if name == "HEAD":
        return source.head().commit
    found = list(_meanings(source, name))
    if not found and is_name(name):
        found = list(_concept(source, name))
    if len({commit for _, commit in found}) > 1:
        raise AmbiguousRevision(revision, found)
    if not found:
        raise _unknown(source, name, revision)
    return found[0][1]


def _meanings(source: Source, name: str) -> Iterator[tuple[str, str]]:
    """Yield (unambiguous spelling, commit id) of every meaning but the bare name of a concept."""
    candidates = [name] if name.startswith(NAMESPACES) else [space + name for space in (HEADS, TAGS, ALIASES, REMOTES)]
    candidates += ["refs/" + name] if ("refs/" + name).startswith(NAMESPACES) else []
    for full in candidates:
        namespace = next(space for space in NAMESPACES if full.startswith(space))
        if is_ref_name(full[len(namespace) :]) and (commit := source.refs.get(full)) is not None:
            yield full, commit
    if name.startswith("concept:"):
        yield from _concept(source, name.removeprefix("concept:"))
    if _PREFIX.fullmatch(name):
        for full_id in source.objects.ids(name):
            if source.objects.kind_of(full_id) == "commit":
                yield full_id, full_id


def _concept(source: Source, name: str) -> Iterator[tuple[str, str]]:
    """Yield the newest commit that introduced a concept: under HEAD or, where there is none, under any ref."""
    for tips in (lambda: [source.head().commit], lambda: source.refs.all(*COMMITS).values()):
        for commit_id, _ in source.index.log(tips()):
            if name in source.index.introduced(commit_id):
                yield f"concept:{name}", commit_id
                return


def _step(source: Source, current: str, match: re.Match[str], revision: str, base: str) -> str:
    if match.group(2) is not None:
        number = int(match.group(2) or 1)
        parents = source.index.commit(current).parents
        if number == 0:
            return current
        if number > len(parents):
            raise UnknownRevision(revision, f"{current[:10]} has {_count(len(parents), 'parent')}", f"cns log {base}")
        return parents[number - 1]
    wanted = int(match.group(1) or 1)
    for done in range(wanted):
        parents = source.index.commit(current).parents
        if not parents:
            raise UnknownRevision(revision, f"'{base}' has {_count(done, 'ancestor')}", f"cns log {base}")
        current = parents[0]
    return current


def _value_before(source: Source, name: str, number: int, revision: str) -> str:
    full = name == "HEAD" or name.startswith(NAMESPACES)
    candidates = [name] if full else [space + name for space in (HEADS, ALIASES)]
    there = (ref for ref in candidates if ref == "HEAD" or (is_ref_name(ref.split("/", 2)[2]) and source.refs.get(ref)))
    if (ref := next(there, None)) is None:
        raise UnknownRevision(revision, f"'{name}' is not HEAD, not a branch and not an alias", "cns branch")
    moves = source.reflog(ref)
    if number >= len(moves) or (found := moves[number].new) is None:
        raise UnknownRevision(revision, f"the reflog of '{name}' has {_count(len(moves), 'entry', 'entries')}")
    return found


def _unknown(source: Source, name: str, revision: str) -> UnknownRevision:
    import difflib  # only where it is needed: 5 ms

    short = [ref.split("/", 2)[2] for ref in source.refs.names(HEADS, TAGS, ALIASES)]
    if ".." in name and not re.search(r"(^|/)\.\./", name):  # that is a path
        return UnknownRevision(revision, "expected one commit, and this is a range", f"cns log {revision}")
    if name.startswith("concept:"):
        return UnknownRevision(revision, "no commit introduced that concept", "cns status")
    if re.fullmatch(r"[0-9a-f]{1,6}", name):
        reason = f"a prefix of an id has at least {SHORTEST_PREFIX} digits"
    else:
        reason = "expected HEAD, a branch, a tag, an alias, a concept, or at least 7 digits of an id"
    with contextlib.suppress(RegistryError):  # a suggestion is not worth a second error
        short += source.objects.get(source.index.commit(source.head().commit).tree, Tree).concepts
    close = difflib.get_close_matches(name, short, n=1)
    return UnknownRevision(revision, reason, f"cns show {close[0]}" if close else "cns log")


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
