"""What `fsck` has to say: findings, the report that they make, and how far a damage reaches.

A finding names what is wrong, in which file, which commits, concepts and refs need it, and what to do. The map of the
objects that are whole is kept as ids and roles only, so that a long history fits into memory. Nothing here reads files.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from registry.dag import reachable
from registry.objects import Need

Level = Literal["error", "warning", "info"]
LISTED = 20  # ids that one finding lists; it counts them all


@dataclass(frozen=True)
class Reach:
    """What needs a damaged or missing object.

    Attributes:
        commits: Ids of commits whose model or history it belongs to, at most LISTED; commit_count counts them all.
        concepts: Names of the concepts that it is a part of.
        refs: Full names of the refs, and HEAD, that reach one of those commits.
    """

    commits: tuple[str, ...] = ()
    commit_count: int = 0
    concepts: tuple[str, ...] = ()
    refs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """One thing that `fsck` saw.

    Attributes:
        level: An error is damage; a warning is harmless by itself; info is no fault.
        code: What kind of thing, such as "object-corrupt"; stable.
        what: What is wrong with which value and what was expected.
        path: The file, relative to the `.cns` folder.
        fix: What to do; empty where there is nothing to do.
        object_id: Of the object, "" where it is none. kind: Its kind, as far as it is known.
        reach: What needs it.
    """

    level: Level
    code: str
    what: str
    path: str
    fix: str = ""
    object_id: str = ""
    kind: str = ""
    reach: Reach = Reach()


@dataclass
class Findings:
    """The answer of one `fsck`.

    Attributes:
        objects: Objects by kind that were read and are whole; bytes: Size of all object files.
        refs: Refs that were read, HEAD not counted. reflog_entries: Intact lines of all reflogs.
        findings: What was seen, in the order in which it was looked at.
    """

    objects: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    refs: int = 0
    reflog_entries: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def damaged(self) -> bool:
        """True where there is an error."""
        return any(finding.level == "error" for finding in self.findings)

    def add(
        self, level: Level, code: str, what: str, path: str, fix: str = "", object_id: str = "", kind: str = ""
    ) -> None:
        """Add a finding; what it reaches is found at the end."""
        self.findings.append(Finding(level, code, what, path, fix, object_id, kind))


class Graph:
    """The objects that are whole, by id, and what needs what.

    Attributes:
        kinds: {id: kind}.
        needs: {id: what it needs}, of all but blobs and bases.
        names: {concept id: name}, of concepts that are whole or that a tree names.
        bad: Ids of files that are there and are not whole.
    """

    def __init__(self) -> None:
        self.kinds: dict[str, str] = {}
        self.needs: dict[str, tuple[Need, ...]] = {}
        self.names: dict[str, str] = {}
        self.bad: set[str] = set()
        self.refs: dict[str, str] = {}  # {name: id} of refs and HEAD that can be read

    def reachable(self, roots: Iterable[str]) -> set[str]:
        """Return every id that roots need, whole or not."""
        return reachable(roots, lambda current: [need.object_id for need in self.needs.get(current, ())])

    def reach(self, damaged: str) -> Reach:
        """Return what needs an object.

        A part of a concept reaches the commits whose model holds it, not all their descendants; a commit, those whose
        history it is. That a later concept was trained beside it is no harm to that concept's weights.
        """
        history = self._is_commit(damaged)

        def harmed(current: str) -> Iterator[str]:
            for referrer, role in self._referrers.get(current, ()):
                beside = role == "trained_on" and current != damaged
                if not beside and (role != "parent" or history):
                    yield referrer

        seen = reachable([damaged], harmed)
        commits = sorted(found for found in seen if self._is_commit(found))
        concepts = sorted({self.names[found] for found in self._concepts(damaged, seen) if found in self.names})
        refs = tuple(name for name, held in self._held.items() if not held.isdisjoint(seen))
        return Reach(tuple(commits[:LISTED]), len(commits), tuple(concepts), refs)

    def _concepts(self, damaged: str, seen: set[str]) -> set[str]:
        """Of a base, every concept of the models that stand on it; else the concepts that need the object."""
        if self.expected_kind(damaged) != "base":
            return seen
        return {need.object_id for found in seen for need in self.needs.get(found, ()) if need.kinds == ("concept",)}

    def role(self, wanted: str) -> str:
        """Say as what an object is needed: "the delta of rex"; empty where nothing needs it."""
        for referrer, role in self._referrers.get(wanted, ()):
            kind = self.kinds.get(referrer, "object")
            if kind == "tree":
                return f"the {role}"
            whose = self.names.get(referrer, f"{kind} {referrer[:10]}")
            return f"the {'tree that was trained in' if role == 'trained_on' else role} of {whose}"
        return ""

    def expected_kind(self, wanted: str) -> str:
        """Return the kind that an object must be of, by what needs it; empty where nothing does."""
        for referrer, role in self._referrers.get(wanted, ()):
            for need in self.needs[referrer]:
                if need.object_id == wanted and need.role == role:
                    return need.kinds[0]
        return "commit" if wanted in self.refs.values() else ""

    def _is_commit(self, found: str) -> bool:
        if found in self.kinds:
            return self.kinds[found] == "commit"
        roles = self._referrers.get(found, ())
        return any(role == "parent" for _, role in roles) or (not roles and found in self.refs.values())

    @cached_property
    def _referrers(self) -> Mapping[str, list[tuple[str, str]]]:
        found: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for referrer, needed in self.needs.items():
            for need in needed:
                found[need.object_id].append((referrer, need.role))
        return found

    @cached_property
    def _held(self) -> Mapping[str, set[str]]:
        """The commits that each ref reaches by parents (of an evaluation's ref: itself)."""

        def parents(current: str) -> list[str]:
            return [need.object_id for need in self.needs.get(current, ()) if need.role == "parent"]

        return {name: reachable([start], parents) for name, start in self.refs.items()}
