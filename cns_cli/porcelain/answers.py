"""What comes out of a verb: frozen dataclasses that commands, porcelain and tests share.

A result is the whole answer: the table for people and `--json` are both made from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cns.templates import Kind as ConceptKind
from cns_cli.porcelain.result import Result
from registry.objects import Compose

Verdict = Literal["kept", "forgot", "inconclusive"]


@dataclass(frozen=True, kw_only=True)
class ErrorResult(Result):
    """A command failed before it had an answer.

    Attributes:
        error: What is wrong, as on stderr.
        hint: The next command to type, or what to do; empty where nobody knows.
        exit_code: What the command ended with.
        kind: What that code stands for: usage, registry, method, ...
    """

    also = ("schema",)

    error: str
    hint: str
    exit_code: int
    kind: str

    @property
    def schema(self) -> Literal["cns-error/1"]:
        """Version of this document; no answer has the same word here."""
        return "cns-error/1"


@dataclass(frozen=True, kw_only=True)
class InitResult(Result):
    """A registry was made.

    Attributes:
        folder: Folder that now holds `.cns`.
        base_source: What `--base` named; kept in `config.toml`, never in the base's id.
        base: Id of the base; the same for everyone who has the same files.
        compose: What prompts see: "all" concepts, or those that they name ("named").
        above: A folder above whose registry commands saw here before, if there is one.
        warnings: What is unusual about the base.
    """

    folder: Path
    base_source: str
    base: str
    family: str
    denoiser_parameters: int
    branch: str
    commit: str
    compose: Compose
    above: Path | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AddResult(Result):
    """A concept was learned and committed.

    Attributes:
        class_confidence: Probability of the class noun when it was inferred, else None.
        share_denoiser: Changed weights / the denoiser's parameters; `share_kv`: / the cross-attention K/V weights.
        bytes_stored: Mask, integers and embedding as stored; `bits_per_weight` is over the changed weights.
        identity_before: Mean cosine with the references by the identity encoder, class noun alone; None without one.
        identity_ceiling: The references against each other.
        identity_alone: As `identity_after`, of the phrase alone as a prompt; None for a style.
        drift: Relative squared drift of the K/V outputs on each old concept's prompts.
        images_check: Rows of `cns check` when `--check` was asked for, else None.
        photos_kept: The training crops are stored in the registry.
        preview: Contact sheet that was written.
        samples: Sheet of what it was every so many steps, where that was asked for.
        series: Figures of each step, such as the loss; of those in `series_steps`, of these steps only.
        better_step: Step whose validation loss was clearly lower than at the end; `shorter` teaches it anew so far.
        learned: The gain is at least three standard errors; of too few pictures, it is above 0.
        few: Too few were drawn to tell noise from learning.
        continued: It went on from the concept as it was, with which "before" is compared.
        capacity: Shares of all K/V weights: `capacity_held` by concepts, `general_share`, `capacity_free`; `reused`,
            the share of this concept's weights that earlier ones hold, too.
        energy_left: Share of the update's squared length that a projection left of it; None without one.
        rank: Of its change of each matrix, where it acts along directions; 0 where it has a mask.
        kind: What it is: an object or a style.
        longer: What teaches it anew with twice the steps.
        captions: What captions were taken from where, in one line.
        masks: What masks were taken from where, in one line; empty without any.
        noticed: The warnings that were given before the training.
        compose: What prompts see of the model. Where it is "named", nothing is said of drift and capacity: prompts
            about the concepts `untouched` see the weights that they saw before.
    """

    name: str
    class_noun: str
    class_confidence: float | None
    token: str
    commit: str
    branch: str | None
    neurons: int
    share_denoiser: float
    share_kv: float
    bytes_stored: int
    bits_per_weight: float
    identity_before: float | None
    identity_after: float | None
    identity_ceiling: float | None
    clip_i_before: float | None
    clip_i_after: float | None
    clip_t_after: float | None
    drift: Mapping[str, float]
    images_check: tuple[CheckRow, ...] | None
    photos_kept: bool
    preview: Path | None
    elapsed_s: float
    warnings: tuple[str, ...] = ()
    learned: bool = True
    few: bool = False
    continued: bool = False
    images: int = 0
    registry: Path = Path()
    capacity: Mapping[str, float] = field(default_factory=dict)
    energy_left: float | None = None
    rank: int = 0
    kind: ConceptKind = "object"
    longer: str = ""
    identity_alone: float | None = None
    clip_t_before: float | None = None
    captions: str = ""
    noticed: tuple[str, ...] = ()
    compose: Compose = "all"
    untouched: tuple[str, ...] = ()
    masks: str = ""
    samples: Path | None = None
    series: Mapping[str, list[float]] = field(default_factory=dict)
    series_steps: Mapping[str, list[int]] = field(default_factory=dict)
    better_step: int | None = None
    shorter: str = ""


@dataclass(frozen=True, kw_only=True)
class DryRun(Result):
    """What `cns add` would take.

    Attributes:
        seconds: All of it: steps, scores and pictures; `step_seconds` is one step of the training.
        class_nouns: What it would take the images for, with its probability; where that is not clear, so that it would
            refuse, the candidates, best first; empty where the user says it.
        captions: What captions it would take from where, in one line; `masks` likewise, empty without any.
        class_noun: What it would be taught as; the first of `class_nouns` where there are any.
        prompts: The first few prompts as it would be trained with them, of different images.
    """

    name: str
    images: int
    steps: int
    seconds: float
    memory_bytes: int
    disk_bytes: int
    device: str
    class_nouns: tuple[tuple[str, float], ...] = ()
    captions: str = ""
    prompts: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    masks: str = ""
    class_noun: str = ""
    step_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class EachRow(Result):
    """What came of one concept of `cns add --each` or `--plan`, or would come of it.

    Attributes:
        outcome: "planned" in a dry run; "skipped" where the concept is there already; "failed" with `why`, `hint` and
            the exit code that `cns add` of it alone has.
        class_noun, confidence: As in `AddResult`.
        seconds: What it would take; 0 but for a dry run.
        identity: As `identity_before` and `identity_after` of `AddResult`.
    """

    name: str
    folder: Path
    outcome: Literal["planned", "added", "skipped", "failed"]
    images: int = 0
    class_noun: str = ""
    confidence: float | None = None
    captions: str = ""
    masks: str = ""
    seconds: float = 0.0
    commit: str | None = None
    identity: tuple[float | None, float | None] = (None, None)
    why: str = ""
    hint: str = ""
    code: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class EachResult(Result):
    """What came of a folder of folders, or of a plan, in their order; `command` does what is left.

    Attributes:
        folder: It, or the plan's file.
        left: What lies there and is of no concept, a sentence each.
    """

    folder: Path
    rows: tuple[EachRow, ...]
    dry_run: bool
    command: str
    left: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class GenerateResult(Result):
    """Images were written: `seeds[i]` made `paths[i]`, or all of them one sheet.

    Attributes:
        commit: Of a range, the last one.
        commits: Of a range, those that the sheet shows, the oldest first; else empty.
        made: Images that were generated: fewer than the sheet shows where commits share a tree.
    """

    prompt: str
    paths: tuple[Path, ...]
    seeds: tuple[int, ...]
    commit: str
    commits: tuple[str, ...] = ()
    made: int = 0
    concepts: tuple[str, ...] = ()
    elapsed_s: float = 0.0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MetricResult(Result):
    """One metric of one concept.

    Attributes:
        metric: Name, one of `METRIC_NAMES`.
        now: Mean score; of a metric that grows (`drift`, `class-drift`, `zero-shot`) the growth itself. NaN where it
            cannot be computed.
        baseline: Mean score of the baseline; None for a growth.
        drop: Mean paired drop, baseline - now, or the growth; None where it cannot be computed.
        low: Lower bound of `drop`; None where `drop` is exact.
        high: Upper bound, likewise.
        max_drop: Largest drop or growth allowed; None = no such limit.
        minimum: Least mean score allowed; None = no such limit.
        images: Images now that the figure rests on; as many of the baseline stand against them.
        why: What decided, when the verdict is not "kept".
        same: Now and baseline are drawn with the same weights, so that the drop is 0 without an image; `now` is what is
            known of it, NaN where it was never measured.
        needed: Images of each prompt that will probably decide it where these did not; None = it is decided, cannot be
            computed, or no number that `cns check --images` takes would do.
    """

    metric: str
    verdict: Verdict
    now: float
    baseline: float | None
    drop: float | None
    low: float | None
    high: float | None
    max_drop: float | None
    minimum: float | None
    images: int
    why: str = ""
    same: bool = False
    needed: int | None = None


@dataclass(frozen=True, kw_only=True)
class CheckRow(Result):
    """One concept against its own baseline. What holds for the whole tree stands in a row whose concept is "(base)".

    Attributes:
        concept: Its name in the tree.
        concept_id: Its id; of the row "(base)" the id of the base.
        verdict: "kept" only when every metric is.
        metrics: One result a metric, in the order asked for.
        baseline_tree: Id of the tree that it is compared with.
        why: What decided, when the verdict is not "kept".
        drift: Relative squared K/V drift since the baseline, whether or not it is a metric of this check.
        base_score: Main score of the base with the class noun alone (b_j); None where it was not computed.
        share_kv: Share of the K/V weights that it changes (`--fast` only).
        overlap: Share of its weights that each other concept changes too, by name (`--fast` only).
        gates: Exact conditions on the weights, by what they say (`--fast` only).
    """

    concept: str
    concept_id: str
    verdict: Verdict
    metrics: tuple[MetricResult, ...]
    baseline_tree: str
    why: str = ""
    drift: float | None = None
    base_score: float | None = None
    share_kv: float | None = None
    overlap: Mapping[str, float] = field(default_factory=dict)
    gates: Mapping[str, bool] = field(default_factory=dict)

    def metric(self, name: str) -> MetricResult | None:
        """The result of a metric, or None where this check did not ask for it."""
        return next((one for one in self.metrics if one.metric == name), None)


@dataclass(frozen=True)
class CheckPart(Result):
    """How far a check is that several machines compute: `shard` of `shards` was computed here.

    Attributes:
        evaluations: All that the check asks for, of all parts.
        stored: Those of them that are stored here.
    """

    shard: int
    shards: int
    evaluations: int
    stored: int


@dataclass(frozen=True, kw_only=True)
class CheckResult(Result):
    """The gate's answer: `passed` only when every row is "kept".

    Attributes:
        commit: What was checked; `tree` is its tree.
        since: Commit whose tree is the baseline; None = each concept's birth.
        outcome: "forgot" if any row is, else "inconclusive" if any is, else "kept".
        prompts: Judge prompts of each concept.
        images: Images judged, of all concepts, now and baseline together.
        images_made: Those that were not in the registry yet.
        protocol: Digest of the protocol of the scores.
        stages: Seconds of loading, generating, encoding and deciding.
        part: With `--shard`, where nothing is decided: there are no rows, and `outcome` is "inconclusive".
    """

    also = ("schema",)

    commit: str
    tree: str
    since: str | None
    rows: tuple[CheckRow, ...]
    outcome: Verdict
    passed: bool
    prompts: int
    images: int
    images_made: int
    protocol: str
    elapsed_s: float
    stages: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    part: CheckPart | None = None

    @property
    def schema(self) -> Literal["cns-check/1"]:
        """Version of this document: a field that is renamed or removed makes a new one, one more does not."""
        return "cns-check/1"


@dataclass(frozen=True, kw_only=True)
class ExportResult(Result):
    """A folder or file was written for another program.

    Attributes:
        tokens: Special token of each concept inside the export.
        error: How far the weights that a program reads are from those of `cns generate`, as a share of the change
            (Frobenius norms); None where the format has no such error.
        program: For which it was laid out, as typed after `--for`.
        prompts: There, a prompt that draws each concept.
        place: Where the files go there.
        load: Lines of Python that open it.
    """

    folder: Path
    format: str
    commit: str
    dtype: str
    bytes_written: int
    tokens: Mapping[str, str] = field(default_factory=dict)
    error: float | None = None
    program: str | None = None
    prompts: tuple[str, ...] = ()
    place: str | None = None
    load: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
