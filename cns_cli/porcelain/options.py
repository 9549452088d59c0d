"""What goes into a verb: frozen dataclasses that commands, porcelain and tests share.

An options object is a whole request: with it alone a run can be repeated. This module imports the standard library
only, so that a command can build its options, and complain about them, before anything heavy is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

ConceptKind = Literal["object", "style"]

DEFAULT_BASE = "emoji-64"


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
