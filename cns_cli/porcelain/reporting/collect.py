"""What a report says of a registry: the lineage, its concepts, their scores, drift and overlap, read once.

Nothing is computed from the model here and torch is not imported. What is damaged or came from others must not hide the
rest: it is left out with a sentence that says so. The size is bounded, and what the bounds cut off is said, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cns.errors import SettingsError
from cns.families import Family, family_named
from cns_cli import __version__, figures
from cns_cli.porcelain.gate.limits import LimitSource, Thresholds, sources, thresholds_of
from cns_cli.porcelain.models.stored import kind_of
from cns_cli.porcelain.options import CheckOptions
from cns_cli.porcelain.reporting.data import NAMES, CommitLine, ConceptFacts, ReportData
from cns_cli.porcelain.reporting.matrix import Axes, metric_tables, outcomes, worst_steps
from cns_cli.porcelain.reporting.scores import LineageScores, overlaps, read_scores
from cns_cli.porcelain.views.commits import numbers, record_data, refs_by_commit
from cns_cli.porcelain.views.concepts import concept_figures, training_context, weights_of
from registry.errors import RegistryError
from registry.objects import Base, Commit, Concept, References, Tree
from registry.repository import Repository
from registry.trees import bare, birth, seen

MAX_ROWS = 100
MAX_COLUMNS = 30
MAX_GRAPH = 150
MAX_WARNINGS = 20

FALLBACK_MAX_DROP = 0.02  # of every family we know; for a base of a family that we do not


@dataclass
class Collector:
    """Reads one registry for one report.

    Attributes:
        repo: The registry.
        head: The commit that is reported on.
        warnings: What could not be read, so far.
        left_out: What the bounds cut off, so far.
    """

    repo: Repository
    head: str
    warnings: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    _trees: dict[str, Tree | None] = field(default_factory=dict)
    _records: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def collect(self, rev: str, digest: str = "") -> ReportData:
        """Return everything but the contact sheets.

        Args:
            rev: How the revision was asked for.
            digest: Show the scores of this protocol; "" takes the one that covers most.
        """
        repo, refs = self.repo, refs_by_commit(self.repo)
        repo.index.read_ahead()
        history = self._read(repo.index.log([self.head]), refs)
        tree = repo.tree_of(self.head)
        base = repo.objects.get(tree.base, Base)
        rows = self._rows(history)
        columns = self._columns(rows, history, tree)
        axes = axes_of(rows, columns)
        pairs = [(row.seen(one.id), one.id) for row in rows for one in columns if one.id in row.concepts.values()]
        pairs += [(one.birth_tree, one.id) for one in columns]
        scores = read_scores(repo, pairs, bare(tree).id, digest)
        limits = self._limits(base.family, scores)
        tables = metric_tables(axes, scores, self._levels(columns, "before"), self._levels(columns, "ceiling"), limits)
        worst = worst_steps(tables[0], [row.id for row in rows], axes) if tables else (None,) * len(columns)
        self.warnings += scores.warnings
        return ReportData(
            rev=rev,
            head=history[self.head],
            registry=repo.root.name,
            version=__version__,
            base=tree.base,
            family=base.family,
            rows=rows,
            graph=self._graph(refs),
            columns=columns,
            tables=tables,
            outcomes=outcomes(tables, axes),
            worst=worst,
            drift=self._drift(rows, columns, scores),
            overlap=overlaps(self.repo, columns, [self._records.get(one.commit, {}) for one in columns], self.warnings),
            max_drop={key: limits.max_drop[name] for key, name in NAMES.items() if name in limits.metrics},
            protocol=dict(scores.protocol),
            protocol_digest=scores.digest,
            other_protocols=scores.others,
            left_out=tuple(self.left_out),
            warnings=tuple(self._bounded(self.warnings)),
        )

    def _read(
        self, walk: Iterable[tuple[str, Commit]], refs: Mapping[str, tuple[str, ...]], limit: int = 10**9
    ) -> dict[str, CommitLine]:
        """Read commits with their trees; history ends, with a warning, where a commit cannot be read."""
        found: dict[str, CommitLine] = {}
        try:
            for commit_id, commit in walk:
                if len(found) >= limit:
                    break
                tree = self._tree(commit.tree)
                concepts, sees = _concepts(tree), {}
                if tree is not None and tree.compose == "named":
                    sees = {one: seen(tree, [name]).id for name, one in concepts.items()}
                found[commit_id] = CommitLine(
                    commit_id, commit.tree, commit.parents, commit.kind, commit.subject, commit.author, commit.time,
                    refs.get(commit_id, ()), concepts, sees,
                )  # fmt: skip
                self._records.setdefault(commit_id, self._quietly(record_data, self.repo, commit) or {})
        except RegistryError as error:
            if not found:
                raise
            self.warnings.append(f"the history before {figures.short_id(list(found)[-1])} is left out: {error.message}")
        return found

    def _rows(self, history: Mapping[str, CommitLine]) -> tuple[CommitLine, ...]:
        """The first-parent line, oldest first, without commits that changed nothing and without an empty model."""
        line: list[CommitLine] = []
        current: str | None = self.head
        while current is not None and current in history:
            line.append(history[current])
            current = history[current].parents[0] if history[current].parents else None
        line.reverse()
        kept = [row for i, row in enumerate(line) if i == 0 or row.tree != line[i - 1].tree]
        kept = [row for row in kept if row.concepts or row.tree == line[-1].tree]
        if len(kept) > MAX_ROWS:
            self.left_out.append(f"the matrix shows the newest {MAX_ROWS} of {len(kept)} states of the model")
        return tuple(kept[-MAX_ROWS:])

    def _columns(
        self, rows: Sequence[CommitLine], history: Mapping[str, CommitLine], tree: Tree
    ) -> tuple[ConceptFacts, ...]:
        """Every concept of the rows, in the order in which they came; those of the revision have precedence."""
        came = list(dict.fromkeys(concept for row in rows for concept in row.concepts.values()))
        current = set(tree.concepts.values())
        chosen = set(sorted(came, key=lambda one: (one in current, came.index(one)))[-MAX_COLUMNS:])
        if len(came) > MAX_COLUMNS:
            self.left_out.append(f"{MAX_COLUMNS} of {len(came)} concepts are shown, the newest that are still there")
        brought: dict[str, str] = {}
        for commit_id, commit in history.items():  # newest first, so the oldest has the last word
            before = {c for parent in commit.parents if parent in history for c in history[parent].concepts.values()}
            brought |= {concept: commit_id for concept in commit.concepts.values() if concept not in before}
        facts = [self._concept(one, brought.get(one, ""), tree) for one in came if one in chosen]
        return tuple(one for one in facts if one is not None)

    def _concept(self, concept_id: str, commit: str, tree: Tree) -> ConceptFacts | None:
        try:
            concept = self.repo.objects.get(concept_id, Concept)
            birth_tree = birth(self.repo.objects, concept_id).id
        except RegistryError as error:
            self.warnings.append(f"a concept is left out: {error.message}")
            return None
        record = self._records.get(commit, {})
        born = self.repo.index.commit(commit) if commit else None
        metrics = self._quietly(concept_figures, self.repo, concept_id, born) or {}
        current = concept_id in tree.concepts.values()
        references = self._quietly(self.repo.objects.get, concept.references, References)
        return ConceptFacts(
            id=concept_id,
            name=concept.name,
            class_noun=concept.class_noun,
            tokens=concept.tokens,
            kind=kind_of(concept),
            commit=commit,
            birth_tree=birth_tree,
            current=current,
            neurons=_whole(metrics.get("neurons")),
            share_kv=metrics.get("share_kv"),
            stored_bytes=_whole(metrics.get("bytes")),
            references=references.count if references else None,
            photos_kept=bool(references and references.images),
            context=self._context(concept, tree) if current else "",
            settings=_settings(record),
        )

    def _context(self, concept: Concept, tree: Tree) -> str:
        """A sentence where a concept keeps other company than it was trained in."""
        try:
            stored = {name: self.repo.objects.get(one, Concept) for name, one in tree.concepts.items()}
            trained_on = {name: _concepts(self._tree(one.trained_on)) for name, one in stored.items()}
            missing, strangers = training_context(concept.name, tree, trained_on, weights_of(self.repo))
        except RegistryError:
            return ""
        parts = [f"without {', '.join(missing)}"] * bool(missing) + [f"beside {', '.join(strangers)}"] * bool(strangers)
        return f"runs outside its training context: {' and '.join(parts)}" if parts else ""

    def _limits(self, family: str, scores: LineageScores) -> Thresholds:
        """What `cns check` would decide on here, and by which limits."""
        known = known_family(family)
        if known is None:
            metrics = ("id", "clip-i")
            return Thresholds(metrics, dict.fromkeys(metrics, FALLBACK_MAX_DROP), {})
        has_identity = not scores.by_pair or any("identity" in found for found in scores.by_pair.values())
        try:
            limits = thresholds_of(sources(self.repo, CheckOptions()), known, has_identity=has_identity)
        except (RegistryError, SettingsError) as error:
            self.warnings.append(error.message)
            limits = thresholds_of((LimitSource(),), known, has_identity=has_identity)
        if others := [name for name in limits.metrics if name not in NAMES.values()]:
            self.left_out.append(
                f"{', '.join(others)}: `cns check` decides on this, too, and the page does not show it"
            )
        return limits

    def _levels(self, columns: Sequence[ConceptFacts], what: str) -> dict[str, tuple[float | None, ...]]:
        """A level of each concept as its commit recorded it: `before` (class noun alone) or `ceiling`."""
        metrics = [numbers(self._records.get(column.commit, {}).get("metrics")) for column in columns]
        return {metric: tuple(one.get(f"{metric}_{what}") for one in metrics) for metric in NAMES}

    def _drift(
        self, rows: Sequence[CommitLine], columns: Sequence[ConceptFacts], scores: LineageScores
    ) -> dict[tuple[str, str], float]:
        """K/V drift since birth, by commit and concept: 0 at birth, then as evaluated, else as recorded."""
        found: dict[tuple[str, str], float] = {}
        births = {column.id: column.birth_tree for column in columns}
        for row in rows:
            recorded = numbers(self._records.get(row.id, {}).get("drift"))
            for name, concept in row.concepts.items():
                value = scores.drift.get((row.seen(concept), concept), recorded.get(name))
                if births.get(concept) == row.seen(concept):
                    value = 0.0
                if concept in births and value is not None:
                    found[row.id, concept] = value
        return found

    def _graph(self, refs: Mapping[str, tuple[str, ...]]) -> tuple[CommitLine, ...]:
        """Commits of every branch and tag, newest first."""
        tips = {*refs, self.head}
        found = self._read(self.repo.index.log(tips), refs, MAX_GRAPH + 1)
        if len(found) > MAX_GRAPH:
            self.left_out.append(f"the lineage shows the newest {MAX_GRAPH} commits")
        return tuple(found.values())[:MAX_GRAPH]

    def _tree(self, wanted: str) -> Tree | None:
        if wanted not in self._trees:
            self._trees[wanted] = self._quietly(self.repo.objects.get, wanted, Tree)
        return self._trees[wanted]

    def _quietly(self, read: Callable[..., Any], *what: object) -> Any:
        """What `read` returns; None, and a warning, where it cannot be read."""
        try:
            return read(*what)
        except RegistryError as error:
            self.warnings.append(error.message)
            return None

    def _bounded(self, warnings: Sequence[str]) -> list[str]:
        found = list(dict.fromkeys(warnings))
        more = [f"and {len(found) - MAX_WARNINGS} more"] if len(found) > MAX_WARNINGS else []
        return found[:MAX_WARNINGS] + more


def axes_of(rows: Sequence[CommitLine], columns: Sequence[ConceptFacts]) -> Axes:
    """Return the axes of the matrix."""
    return Axes(
        trees=tuple(row.tree for row in rows),
        holds=tuple(frozenset(row.concepts.values()) for row in rows),
        sees=tuple(row.sees for row in rows),
        concepts=tuple(column.id for column in columns),
        births=tuple(column.birth_tree for column in columns),
    )


def _concepts(tree: Tree | None) -> Mapping[str, str]:
    return tree.concepts if tree else {}


def known_family(name: str) -> Family | None:
    """Return a base's family, or None for one that this version does not know."""
    try:
        return family_named(name)
    except SettingsError:
        return None


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _settings(record: Mapping[str, Any]) -> dict[str, str]:
    """Recorded settings, written for people; a value of the wrong kind is left out."""
    params = record.get("params")
    found = dict(params) if isinstance(params, Mapping) else {}
    found |= {key: record[key] for key in ("seed", "device", "dtype") if key in record}
    return {
        str(key): value if isinstance(value, str) else str(value) if isinstance(value, bool) else figures.number(value)
        for key, value in found.items()
        if isinstance(value, (str, int, float)) and value != ""
    }
