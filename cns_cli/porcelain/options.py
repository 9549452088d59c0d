"""What goes into a verb and what comes out of it: frozen dataclasses that commands, porcelain and tests share.

An options object is a whole request: with it alone a run can be repeated. A result is the whole answer: the table for
people and `--json` are both made from it. This module imports the standard library only, so that a command can build
its options, and complain about them, before anything heavy is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cns_cli.porcelain.result import Result

ConceptKind = Literal["object", "style"]
Verdict = Literal["kept", "forgot", "inconclusive"]

METRIC_NAMES = ("id", "clip-i", "clip-t", "drift", "margin", "class-drift", "zero-shot")
"""What `cns check` can judge on; what each means is said in `cns.metrics`."""

METRIC_LABELS = {
    "id": "identity",
    "clip-i": "CLIP-I",
    "clip-t": "CLIP-T",
    "drift": "K/V drift",
    "margin": "margin",
    "class-drift": "class drift",
    "zero-shot": "zero-shot",
}
"""Metrics as people read them."""

CHECK_SCHEMA = "cns-check/1"
"""Version of the JSON of `CheckResult`: a field that is renamed or removed makes a new one, one more does not."""


@dataclass(frozen=True)
class Request:
    """What every verb that touches a registry is told.

    Attributes:
        start: Folder to look for `.cns` from, upwards.
        author: Written into commits.
        time: Seconds since 1970 in UTC to write into commits; None takes the clock.
        mlflow_uri: Tracking URI that overrides the registry's own; None leaves it.
    """

    start: Path = Path()
    author: str = "unknown"
    time: int | None = None
    mlflow_uri: str | None = None


@dataclass(frozen=True, kw_only=True)
class AddOptions(Request):
    """Teach the model a concept from a folder of images. None means: the family's default.

    Attributes:
        name: The concept's name; also its special token `<name>` unless `token` says otherwise.
        images: Folder with at least one image.
        class_noun: What kind of thing it is; None infers it from captions, the folder's name or by the base's CLIP.
        budget: Share of the K/V weights that may change, 0 < budget <= 1.
        anchor: Pull toward the base; `reg_strength` is the one toward what was learned before.
        warmup: Steps that train the token alone.
        past_vote: Share of the earlier concepts that must hold a weight for it to be left out; None = no vote.
        vectors: Embedding rows of the token; `init` says in words where they start (None = the class noun), and
            `norm_guard` keeps them as long as the vocabulary's.
        kind: A thing, or a way of drawing things.
        prior: Images of the class noun by the base, to be trained on beside the concept's own.
        replace: Teach a name that is taken anew.
        check: Also generate images of every old concept and print how they kept.
        keep_images: Store the training crops in the registry; otherwise only features of them.
        dry_run: Measure and estimate only; nothing is written.
        resume: Go on with an interrupted training. What is not given is taken from its saved state, name ("") and
            images (the empty path) too.
        typed: Names of the fields that were given even where they are as by default: --resume takes these as given.
    """

    name: str
    images: Path
    class_noun: str | None = None
    token: str | None = None
    steps: int | None = None
    lr: float | None = None
    score: str | None = None
    reg: str | None = None
    reg_strength: float | None = None
    budget: float | None = None
    seed: int = 0
    resolution: int | None = None
    anchor: float | None = None
    warmup: int | None = None
    past_vote: float | None = None
    vectors: int = 1
    init: str | None = None
    norm_guard: bool = False
    kind: ConceptKind = "object"
    prior: int = 0
    device: str = "auto"
    dry_run: bool = False
    replace: bool = False
    check: bool = False
    keep_images: bool = True
    message: str | None = None
    resume: bool = False
    typed: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class GenerateOptions(Request):
    """Make `n` images of one prompt with the model of one revision.

    Attributes:
        at: The revision whose tree is composed; or a range `A..B`: a sheet with a row for each commit from A to B.
        seed: Seed of the first image; image i takes seed + i.
        out: File to write; None names files after the prompt, in `start`. With n > 1 a number goes before the suffix.
        regions: What is to be seen where, as typed: `rex@0,0.3,0.5,1`, or a prompt in the place of the name.
        grid: One sheet of all images instead of a file for each.
        batch: Images at a time; None: as many as fit their size.
    """

    prompt: str
    n: int = 1
    seed: int = 0
    steps: int | None = None
    guidance: float | None = None
    negative: str | None = None
    at: str = "HEAD"
    out: Path | None = None
    device: str = "auto"
    regions: tuple[str, ...] = ()
    grid: bool = False
    batch: int | None = None


@dataclass(frozen=True, kw_only=True)
class CheckOptions(Request):
    """Compare every concept of one revision with its own baseline. Empty or None means: config, else the family's.

    Attributes:
        since: Baseline = this revision's tree instead of each concept's birth; a concept younger than it keeps its
            birth.
        concepts: Only these; empty means all.
        metrics: Names of `METRIC_NAMES`; the family's are `id` (where the base has that judge) and `clip-i`.
        max_drop: Metric -> largest drop or growth that still counts as kept; the key "" stands for every metric that
            is a drop in cosine.
        minimum: Metric -> least mean score now; the key "" stands for the base's main score.
        prompts: File of judge templates, one a line, `{}` stands for the concept's phrase; never fewer than the
            family's.
        images: Images of each prompt to begin with; an undecided check doubles them.
        fast: Weight gates and K/V drift only; no image is made.
        encoder: Another judge, hub id or folder: a CLIP takes the place of the CLIP, a DINOv2 of the identity judge.
    """

    rev: str = "HEAD"
    since: str | None = None
    concepts: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    max_drop: Mapping[str, float] = field(default_factory=dict)
    minimum: Mapping[str, float] = field(default_factory=dict)
    prompts: Path | None = None
    images: int | None = None
    seed: int | None = None
    device: str = "auto"
    fast: bool = False
    encoder: str | None = None


@dataclass(frozen=True, kw_only=True)
class InitResult(Result):
    """A registry was made.

    Attributes:
        folder: Folder that now holds `.cns`.
        base_source: What `--base` named; kept in `config.toml`, never in the base's id.
        base: Id of the base; the same for everyone who has the same files.
    """

    folder: Path
    base_source: str
    base: str
    family: str
    denoiser_parameters: int
    branch: str
    commit: str


@dataclass(frozen=True, kw_only=True)
class AddResult(Result):
    """A concept was learned and committed.

    Attributes:
        class_confidence: Probability of the class noun when it was inferred, else None.
        share_denoiser: Changed weights / the denoiser's parameters; `share_kv`: / the cross-attention K/V weights.
        bytes_stored: Mask, integers and embedding as stored; `bits_per_weight` is over the changed weights.
        identity_before: Mean cosine with the references by the identity encoder, class noun alone; None without one.
        identity_ceiling: The references against each other.
        drift: Relative squared drift of the K/V outputs on each old concept's prompts.
        images_check: Rows of `cns check` when `--check` was asked for, else None.
        photos_kept: The training crops are stored in the registry.
        preview: Contact sheet that was written.
        learned: The gain is at least three standard errors.
        capacity: Shares of all K/V weights: `capacity_held` by concepts, `general_share`, `capacity_free`; `reused`,
            the share of this concept's weights that earlier ones hold, too.
        energy_left: Share of the update's squared length that a projection left of it; None without one.
        kind: What it is: an object or a style.
        longer: What teaches it anew with twice the steps.
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
    images: int = 0
    registry: Path = Path()
    capacity: Mapping[str, float] = field(default_factory=dict)
    energy_left: float | None = None
    kind: ConceptKind = "object"
    longer: str = ""


@dataclass(frozen=True, kw_only=True)
class DryRun(Result):
    """What `cns add` would take.

    Attributes:
        class_nouns: What it would take the images for, with its probability; where that is not clear, so that it would
            refuse, the candidates, best first; empty where the user says it.
    """

    name: str
    images: int
    steps: int
    seconds: float
    memory_bytes: int
    disk_bytes: int
    device: str
    class_nouns: tuple[tuple[str, float], ...] = ()
    warnings: tuple[str, ...] = ()


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
    """

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

    def to_json(self) -> dict[str, Any]:
        """Return the fields under the version of their schema."""
        return {"schema": CHECK_SCHEMA, **super().to_json()}


@dataclass(frozen=True, kw_only=True)
class ExportResult(Result):
    """A folder or file was written for another program.

    Attributes:
        tokens: Special token of each concept inside the export.
        load: Lines of Python, or one sentence, that say how to open it.
    """

    folder: Path
    format: str
    commit: str
    dtype: str
    bytes_written: int
    tokens: Mapping[str, str] = field(default_factory=dict)
    load: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
