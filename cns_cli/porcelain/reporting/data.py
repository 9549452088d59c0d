"""What a report says, before anything is drawn: plain numbers and strings in the order in which the page shows them.

Everything here is frozen and made of the standard library's types, so that a test can write a report's data by hand and
the page can be drawn from it without a registry. A score that was never measured is None; it is never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from cns.templates import Kind, phrase_of
from cns_cli.porcelain.metrics import METRICS

CellVerdict = Literal["kept", "forgot", "inconclusive", "unmeasured"]
NAMES = {metric.stored: name for name, metric in METRICS.items() if metric.stored and metric.level}
"""Key in a stored evaluation -> name in `cns check`; the first that was measured is the main score."""


@dataclass(frozen=True)
class CommitLine:
    """A commit, as the graph and the rows of the matrix show it.

    Attributes:
        subject: First line of the message.
        time: Seconds since 1970, UTC.
        refs: `HEAD -> main`, `dev`, `tag: v1`.
        concepts: {name: concept id} of its tree; empty where the tree cannot be read.
        sees: {concept id: id of the tree that prompts about it see}, where that is not the commit's whole tree.
    """

    id: str
    tree: str
    parents: tuple[str, ...]
    kind: str
    subject: str
    author: str
    time: int
    refs: tuple[str, ...] = ()
    concepts: Mapping[str, str] = field(default_factory=dict)
    sees: Mapping[str, str] = field(default_factory=dict)

    def seen(self, concept: str) -> str:
        """Id of the tree that prompts about a concept, by its id, see."""
        return self.sees.get(concept, self.tree)


@dataclass(frozen=True)
class ConceptFacts:
    """A column of the matrix: one concept that the lineage holds or held.

    Attributes:
        commit: The commit that brought it in, "" where history does not tell.
        birth_tree: Id of its baseline: the tree that it was trained on, plus itself.
        current: The revision of the report holds it.
        references: Number of training images; `photos_kept`: they are stored in the registry.
        context: A sentence when it runs outside its training context, else "".
        settings: What it was trained with, as recorded; written values.
        kind: An object or a style.
    """

    id: str
    name: str
    class_noun: str
    tokens: tuple[str, ...]
    commit: str
    birth_tree: str
    current: bool = True
    neurons: int | None = None
    share_kv: float | None = None
    stored_bytes: int | None = None
    references: int | None = None
    photos_kept: bool = False
    context: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    kind: Kind = "object"

    @property
    def phrase(self) -> str:
        """How prompts call it: `<rex> dog`."""
        return phrase_of(self.tokens, self.class_noun)


@dataclass(frozen=True)
class Cell:
    """A measured score R[i, j].

    Attributes:
        value: Mean cosine over prompts and images.
        change: Mean of now - at birth over the images that both have, same prompts and seeds; None without a baseline.
        prompts, images: What was judged: `images` of each prompt.
    """

    value: float
    change: float | None
    prompts: int
    images: int


@dataclass(frozen=True)
class Drop:
    """How much a concept's score fell since its birth: mean, the bounds of its interval, what they decide, and why."""

    drop: float
    low: float
    high: float
    outcome: CellVerdict
    why: str = ""


@dataclass(frozen=True)
class Summary:
    """What a matrix says about forgetting and learning as a whole; None where it does not hold enough scores.

    Attributes:
        bwt: Backward transfer; `bwt_low`, `bwt_high`: Student's interval over the prompts.
        forgetting: Best earlier score minus the score now, mean over concepts.
        retention: Share of the learned gain that is still there.
        gain: Mean learned gain, at birth minus the base's level.
        missing: Measurements on or below the diagonal that are not stored.
    """

    bwt: float | None = None
    bwt_low: float | None = None
    bwt_high: float | None = None
    forgetting: float | None = None
    retention: float | None = None
    gain: float | None = None
    missing: int = 0


@dataclass(frozen=True)
class MetricTable:
    """The matrix R of one metric, with the levels that it is read against.

    Attributes:
        metric: Key of `NAMES`.
        cells: One row a commit, one cell a concept; None = not measured, or the commit does not hold the concept.
        base: b_j, the base model with the class noun alone.
        ceiling: r_j, the references against each other.
        born: The score at birth.
        drops: Against birth, at the revision of the report; empty for a metric that decides nothing.
    """

    metric: str
    label: str
    cells: tuple[tuple[Cell | None, ...], ...]
    base: tuple[float | None, ...]
    ceiling: tuple[float | None, ...]
    born: tuple[Cell | None, ...]
    drops: tuple[Drop | None, ...]
    summary: Summary


@dataclass(frozen=True)
class Step:
    """The step of the lineage in which a concept's main score fell most: to `commit`, from the row measured before."""

    before: str
    commit: str
    change: float


@dataclass(frozen=True)
class Tile:
    """A picture on the page, a WebP.

    Attributes:
        data: The bytes.
        side: Width and height in pixels.
        what: A sentence for those who cannot see it.
    """

    data: bytes
    side: int
    what: str


@dataclass(frozen=True)
class SheetRow:
    """The same prompts and seeds at one commit; `note` says why there is no picture where there is none."""

    label: str
    detail: str
    score: str = ""
    tiles: tuple[Tile, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Sheet:
    """The contact sheet of one concept: its references, then the base and the commits, `images` of each prompt."""

    concept: str
    prompts: tuple[str, ...]
    images: int
    references: SheetRow
    rows: tuple[SheetRow, ...]


@dataclass(frozen=True)
class ReportData:
    """A whole report.

    Attributes:
        head: The commit that is reported on; `rev`: how it was asked for.
        rows: The lineage: its first-parent line, oldest first.
        graph: Commits of all branches and tags, newest first.
        columns: Concepts, in the order in which they came.
        tables: One a metric that was measured; the main score first.
        outcomes: One a column.
        worst: One a column: where its main score fell most; None where nothing fell or nothing was measured.
        drift: {(commit id, concept id): K/V drift since birth}.
        overlap: {(one, other)}: share of the neurons of the column `one` that `other` holds too.
        max_drop: {metric: largest drop that counts as kept}.
        protocol: What the scores depend on; empty when none is stored.
        other_protocols: Evaluations of this lineage that were made under other protocols and are left out.
        left_out: Sentences: what the page does not show because of its bounds.
        warnings: Sentences: what could not be read.
    """

    rev: str
    head: CommitLine
    registry: str
    version: str
    base: str
    family: str
    rows: tuple[CommitLine, ...]
    graph: tuple[CommitLine, ...]
    columns: tuple[ConceptFacts, ...]
    tables: tuple[MetricTable, ...] = ()
    outcomes: tuple[CellVerdict, ...] = ()
    worst: tuple[Step | None, ...] = ()
    drift: Mapping[tuple[str, str], float] = field(default_factory=dict)
    overlap: Mapping[tuple[int, int], float] = field(default_factory=dict)
    max_drop: Mapping[str, float] = field(default_factory=dict)
    protocol: Mapping[str, object] = field(default_factory=dict)
    protocol_digest: str = ""
    other_protocols: int = 0
    sheets: tuple[Sheet, ...] = ()
    left_out: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def judged(self) -> list[tuple[ConceptFacts, CellVerdict]]:
        """The concepts that the revision holds, each with its outcome."""
        return [pair for pair in zip(self.columns, self.outcomes, strict=True) if pair[0].current]

    @property
    def outcome(self) -> CellVerdict:
        """The worst outcome of the concepts that the revision holds; "kept" when there is nothing to forget."""
        order: tuple[CellVerdict, ...] = ("forgot", "inconclusive", "unmeasured", "kept")
        return min((outcome for _, outcome in self.judged), key=order.index, default="kept")

    @property
    def summary(self) -> Summary:
        """Of the main score; empty where nothing was measured."""
        return self.tables[0].summary if self.tables else Summary()
