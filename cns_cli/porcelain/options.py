"""What goes into a verb and what comes out of it: frozen dataclasses that commands, porcelain and tests share.

An options object is a whole request: with it alone a run can be repeated. A result is the whole answer: the table for
people and `--json` are both made from it. This module imports the standard library only, so that a command can build
its options, and complain about them, before anything heavy is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cns_cli.porcelain.result import Result

Verdict = Literal["kept", "forgot", "inconclusive"]


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
        class_noun: What kind of thing it is; None infers it from captions or by the base's CLIP.
        budget: Share of the K/V weights that may change, 0 < budget <= 1.
        replace: Teach a name that is taken anew.
        check: Also generate images of every old concept and print how they kept.
        keep_images: Store the training crops in the registry; otherwise only features of them.
        dry_run: Measure and estimate only; nothing is written.
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
    device: str = "auto"
    dry_run: bool = False
    replace: bool = False
    check: bool = False
    keep_images: bool = True
    message: str | None = None


@dataclass(frozen=True, kw_only=True)
class GenerateOptions(Request):
    """Make `n` images of one prompt with the model of one revision.

    Attributes:
        at: The revision whose tree is composed.
        seed: Seed of the first image; image i takes seed + i.
        out: File to write; None names files after the prompt, in `start`. With n > 1 a number goes before the suffix.
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


@dataclass(frozen=True, kw_only=True)
class CheckOptions(Request):
    """Compare every concept of one revision with its own baseline.

    Attributes:
        concepts: Only these; empty means all.
        images: Images per prompt; None takes the protocol's.
        max_drop: Largest drop, in cosine, that still counts as kept; None takes the family's.
    """

    rev: str = "HEAD"
    concepts: tuple[str, ...] = ()
    images: int | None = None
    max_drop: float | None = None
    seed: int = 0
    device: str = "auto"


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


@dataclass(frozen=True, kw_only=True)
class DryRun(Result):
    """What `cns add` would take. `class_nouns` are candidates with their probability, best first."""

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
    """Images were written: `seeds[i]` made `paths[i]`."""

    prompt: str
    paths: tuple[Path, ...]
    seeds: tuple[int, ...]
    commit: str
    concepts: tuple[str, ...] = ()
    elapsed_s: float = 0.0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Score(Result):
    """One metric of one concept, mean cosines; `low` and `high` bound the paired drop (baseline - now)."""

    now: float
    baseline: float
    drop: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class CheckRow(Result):
    """One concept against its own baseline. `why` says what decided when the verdict is not "kept"."""

    concept: str
    verdict: Verdict
    identity: Score | None
    clip_i: Score | None
    drift: float | None = None
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class CheckResult(Result):
    """The gate's answer: `passed` only when every row is "kept"."""

    commit: str
    rows: tuple[CheckRow, ...]
    passed: bool
    max_drop: float
    images: int
    protocol: str = ""
    elapsed_s: float = 0.0
    warnings: tuple[str, ...] = ()


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
