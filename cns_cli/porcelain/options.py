"""What goes into a verb: frozen dataclasses that commands, porcelain and tests share.

An options object is a whole request: with it alone a run can be repeated. What a field is, its default, how it is typed
and what the help page says of it stand here, once; `cns_cli.options` makes the command line of it. This module imports
the standard library and tables of names only, so that a command can build its options, and complain about them, before
anything heavy is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import not_
from pathlib import Path
from typing import Annotated, Literal

from cns.presets import BALANCED, PRESETS_IN_SHORT, PresetName
from cns.provenance import CHOICES
from cns.scores import BUILT_IN
from cns_cli.optionfield import (
    DEVICE,
    DEVICES,
    DTYPE,
    ENGINE,
    JOBS,
    MAX_SEED,
    MESSAGE,
    PLACE,
    REV,
    SEED,
    SHARD,
    Argument,
    Engine,
    Option,
    age,
    eighths,
    file_to_write,
    finite,
    positive,
    share,
)
from cns_cli.porcelain.metrics import METRIC_NAMES

ConceptKind = Literal["object", "style"]

DEFAULT_BASE = "emoji-64"

Composed = Literal["all", "named"]
"""As `registry.objects.Compose`, which a command need not load."""

DEFAULT_COMPOSE: Composed = "named"
"""What prompts see in a new registry."""


def with_boxes(texts: Sequence[str] | None) -> Sequence[str] | None:
    """Accept regions that have a box."""
    for text in texts or ():
        from cns.boxes import split_region
        from cns.errors import RegionError

        try:
            split_region(text)
        except RegionError as error:
            raise ValueError(error.message) from error
    return texts


def _one_of(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


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
        preset: Row of `cns.presets.PRESETS` that the settings are of which are None here.
        budget: Share of the K/V weights that may change, 0 < budget <= 1.
        directions: Rank of the change of each matrix; 0 = a mask, as large as `budget` says. None is 0 where a
            budget, a score, votes or a projection is asked for, which are about masks.
        anchor: Pull toward the base; `reg_strength` is the one toward what was learned before.
        warmup: Steps that train the token alone.
        past_vote: Share of the earlier concepts that must hold a weight for it to be left out; None = no vote.
        vectors: Embedding rows of the token; `init` says in words where they start (None = the class noun), and
            `norm_guard` keeps them as long as the vocabulary's.
        kind: A thing, or a way of drawing things.
        hold_out: Images, the last ones, that are not trained on; the validation loss is theirs.
        samples: Steps between two drawings of the concept; changes no bit of the training.
        preview: Pictures of judge prompts, as many before as after; a row of them is of the phrase alone.
        gradient_checkpointing: Whether activations are computed again; changes no bit of the training either.
        prior: Images of the class noun by the base, to be trained on beside the concept's own.
        replace: Teach a name that is taken anew.
        continues: Go on from the concept of that name, with these images and those that it was shown.
        check: Also generate images of every old concept and print how they kept.
        masks: Read masks where there are any, see `cns.files.maskfiles`.
        keep_images: Store the training crops in the registry; otherwise only features of them.
        dry_run: Measure and estimate only; nothing is written.
        resume: Go on with an interrupted training. What is not given is taken from its saved state, name ("") and
            images (the empty path) too.
        typed: Names of the fields that were given even where they are as by default: --resume takes these as given.
    """

    name: Annotated[str, Argument("What to call it; the special token becomes <NAME>.", "NAME", absent=None)]
    images: Annotated[
        Path,
        Argument(
            "Folder of images, with captions if you have them.", "IMAGES/", absent=None, exists=True, file_okay=False
        ),
    ]
    class_noun: Annotated[
        str | None, Option("What kind of thing it is, e.g. dog. Inferred when not given.", "NOUN", flags="--class")
    ] = None
    token: Annotated[str | None, Option("Special token to use in prompts instead of <NAME>.", "TOKEN")] = None
    preset: Annotated[
        PresetName,
        Option(f"Settings by name; others that are typed win. On the embedded base: {PRESETS_IN_SHORT}."),
    ] = BALANCED
    steps: Annotated[int | None, Option("Finetuning steps.", "N", min=1)] = None
    repeats: Annotated[
        int | None,
        Option("Instead of --steps: how often each image is seen; steps = N * images / images a step.", "N", min=1),
    ] = None
    lr: Annotated[
        float | None, Option("Learning rate of the K/V weights.", "RATE", "--lr --learning-rate", check=positive)
    ] = None
    batch_size: Annotated[int | None, Option("Images a step.", "N", min=1, max=1024)] = None
    score: Annotated[str | None, Option(f"How neurons are chosen: {_one_of(list(BUILT_IN))}.", "SCORE")] = None
    reg: Annotated[
        str | None,
        Option(f"What protects older concepts: {_one_of(sorted(CHOICES['reg'].values, key='none'.__eq__))}.", "REG"),
    ] = None
    reg_strength: Annotated[float | None, Option("Weight of that protection.", "X", min=0, check=finite)] = None
    budget: Annotated[
        float | None,
        Option("Share of the K/V weights to change in a mask, e.g. 5.8%.", "SHARE", parser=share),
    ] = None
    directions: Annotated[
        int | None,
        Option("Change all K/V weights along N directions; 0: some, in a mask.", "N", min=0, max=64),
    ] = None
    seed: Annotated[int, SEED] = 0
    resolution: Annotated[
        int | None,
        Option("Side of the training images.", "PX", min=8, max=4096),
    ] = None
    masks: Annotated[
        bool,
        Option(
            "Learn less outside masks beside the images, or where these are transparent.", flags="--masks/--no-masks"
        ),
    ] = True
    anchor: Annotated[float | None, Option("Weight of the pull toward the base.", "X", min=0, check=finite)] = None
    warmup: Annotated[int | None, Option("Steps that train the token alone, before.", "N", min=0)] = None
    past_vote: Annotated[
        float | None, Option("Leave out weights that this share of concepts hold.", "SHARE", parser=share)
    ] = None
    vectors: Annotated[int, Option("Embedding rows of the token.", "N", min=1, max=16)] = 1
    init: Annotated[str | None, Option("Where the token starts instead of the class noun.", "WORDS")] = None
    norm_guard: Annotated[bool, Option("Keep the token's rows as long as the vocabulary's.")] = False
    kind: Annotated[ConceptKind, Option('An object ("a <rex> dog") or a style ("a <mona> style dog").')] = "object"
    prior: Annotated[int, Option("Also train on N images of the class noun.", "N", min=0, max=1000)] = 0
    hold_out: Annotated[int, Option("Do not train on the last N images: their loss is watched.", "N", min=0)] = 0
    samples: Annotated[int | None, Option("Draw the concept every N steps, on a sheet.", "N", min=1)] = None
    preview: Annotated[
        int | None, Option("Draw N pictures before and N after, which are scored.", "N", min=1, max=1000)
    ] = None
    gradient_checkpointing: Annotated[
        bool | None,
        Option(
            "Compute activations again, or keep them; else as free memory says.",
            flags="--gradient-checkpointing/--no-gradient-checkpointing",
        ),
    ] = None
    device: Annotated[str, DEVICE] = "auto"
    dtype: Annotated[str, DTYPE] = "auto"
    dry_run: Annotated[bool, Option("Say what it would take (time, memory, disk); write nothing.")] = False
    replace: Annotated[bool, Option("Teach a name anew that is already taken.")] = False
    continues: Annotated[bool, Option("Go on from what NAME has learned, with more images.", flags="--continue")] = (
        False
    )
    check: Annotated[bool, Option("Afterwards compare images of every older concept.")] = False
    keep_images: Annotated[
        bool,
        Option(
            "Store the training images in the registry, or only features of them.",
            flags="--keep-images/--no-keep-images",
        ),
    ] = True
    message: Annotated[str | None, MESSAGE] = None
    resume: Annotated[bool, Option("Go on with an interrupted training; all else is as it was.")] = False
    typed: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class ImportOptions(Request):
    """Bring a concept in that another program trained.

    Attributes:
        file: An adapter or a textual inversion, or a folder of diffusers or PEFT.
        name: The concept's name; also its special token `<name>` unless `token` says otherwise.
        class_noun: What kind of thing it is; None: as its images or its name say.
        weight: Its change is multiplied with it.
        only_kv: Leave out what it changes beside the key and value matrices.
        embedding: A textual inversion with the token's vectors; None: the token starts at the class noun.
        images: Folder of what it shall look like, by which `check` judges it.
        dry_run: Read and measure only; nothing is written.
    """

    file: Annotated[Path, Argument("A LoRA or its kin, a textual inversion, a folder of PEFT.", "FILE", exists=True)]
    name: Annotated[str, Argument("What to call it; the special token becomes <NAME>.", "NAME")]
    class_noun: Annotated[str | None, Option("What kind of thing it is, e.g. dog.", "NOUN", flags="--class")] = None
    token: Annotated[str | None, Option("Special token to use in prompts instead of <NAME>.", "TOKEN")] = None
    weight: Annotated[float, Option("How strongly it acts.", "X", check=positive)] = 1.0
    only_kv: Annotated[bool, Option("Leave out what it changes beside the K/V weights.")] = False
    embedding: Annotated[
        Path | None,
        Option("Take the token's vectors from this textual inversion.", "FILE", exists=True, dir_okay=False),
    ] = None
    kind: Annotated[ConceptKind, Option('An object ("a <rex> dog") or a style ("a <mona> style dog").')] = "object"
    images: Annotated[
        Path | None, Option("What it looks like, for cns check.", "FOLDER", exists=True, file_okay=False)
    ] = None
    replace: Annotated[bool, Option("Take the place of a concept of that name.")] = False
    keep_images: Annotated[
        bool,
        Option("Store the images in the registry, or only features of them.", flags="--keep-images/--no-keep-images"),
    ] = True
    device: Annotated[str, DEVICE] = "auto"
    dry_run: Annotated[bool, Option("Say what the file changes; write nothing.")] = False
    message: Annotated[str | None, MESSAGE] = None


@dataclass(frozen=True, kw_only=True)
class EraseOptions(Request):
    """Erase nouns from what the base draws.

    Attributes:
        nouns: At least one.
        to: What prompts of them find instead; None: what the prompt says without the noun.
        images: Pictures of each judge prompt, before and after, by which the share is told.
    """

    nouns: Annotated[tuple[str, ...], Argument("What shall go: nouns that the base draws.", "NOUN...", repeated=True)]
    to: Annotated[str | None, Option("Draw this in its place; else what the prompt says without the noun.", "NOUN")] = (
        None
    )
    images: Annotated[
        int, Option("Pictures of each of the judge's prompts, before and after.", "N", min=0, max=100)
    ] = 1
    seed: Annotated[int, SEED] = 0
    device: Annotated[str, DEVICE] = "auto"
    message: Annotated[str | None, MESSAGE] = None


@dataclass(frozen=True, kw_only=True)
class GenerateOptions(Request):
    """Make `n` images of one prompt with the model of one revision.

    Attributes:
        at: The revision whose tree is composed; or a range `A..B`: a sheet with a row for each commit from A to B.
        compose: What prompts see of the tree in place of what it says itself.
        seed: Seed of the first image; image i takes seed + i.
        out: File to write; None names files after the prompt, in `start`. With n > 1 a number goes before the suffix.
        prompts: A file of many prompts, which takes the place of `prompt`; see `pictures.prompts`.
        width, height: In pixels; None: the side of the base's own images.
        mark: Say inside each file that a model made the picture, by IPTC's word for it.
        force: Let `out` replace what is no picture of ours.
        regions: What is to be seen where, as typed: `rex@0,0.3,0.5,1`, or a prompt in the place of the name.
        grid: One sheet of all images instead of a file for each.
        batch: Images at a time; None: as many as fit their size.
    """

    prompt: Annotated[
        str,
        Argument("What to show; special tokens name concepts. Without it, asks on a terminal.", "PROMPT", absent=None),
    ]
    n: Annotated[int, Option("How many images.", "N", flags="-n", min=1, max=1000)] = 1
    seed: Annotated[int, SEED] = 0
    steps: Annotated[int | None, Option("Denoising steps.", "N", min=1, max=1000)] = None
    guidance: Annotated[float | None, Option("How strictly the prompt is followed.", "X", min=0, check=finite)] = None
    negative: Annotated[str | None, Option("What to keep away from.", "PROMPT")] = None
    at: Annotated[str, Option("Use this revision's model; A..B: a sheet of all from A to B.", "REV")] = "HEAD"
    compose: Annotated[
        Composed | None, Option("What prompts see: all concepts, or those that they name; else as the registry has it.")
    ] = None
    out: Annotated[
        Path | None,
        Option(
            "Numbered for -n > 1; {prompt} and {seed} in it are filled in. Else named after the prompt.",
            "FILE",
            flags="-o --out",
            check=file_to_write,
        ),
    ] = None
    device: Annotated[str, PLACE] = "auto"
    dtype: Annotated[str, DTYPE] = "auto"
    regions: Annotated[
        tuple[str, ...],
        Option(
            "What is to be seen in x0,y0,x1,y1, fractions of the image; a prompt may stand for NAME.",
            "NAME@BOX",
            flags="--region",
            repeated=True,
            check=with_boxes,
        ),
    ] = ()
    grid: Annotated[bool, Option("Write one sheet of all images instead of files.")] = False
    batch: Annotated[int | None, Option("Images at a time; memory grows.", "N", min=1, max=256)] = None
    prompts: Annotated[
        Path | None,
        Option(
            "Prompts, one a line; --n --w --h --d --l --s in a line, as kohya.", "FILE", exists=True, dir_okay=False
        ),
    ] = None
    width: Annotated[
        int | None, Option("Width in pixels; --size WxH is both sides.", "PX", min=8, max=4096, check=eighths)
    ] = None
    height: Annotated[int | None, Option("Height in pixels.", "PX", min=8, max=4096, check=eighths)] = None
    mark: Annotated[
        bool, Option("Leave out of the files that a model made them.", flags="--no-mark", absent=False, check=not_)
    ] = True
    force: Annotated[bool, Option("Let -o replace a file that is no picture of cns.", flags="--force -f")] = False


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How scores are computed by several processes or machines.

    Attributes:
        jobs: Processes on each device.
        devices: Where they compute; empty: on `device`.
        engine: Who runs these processes.
        shard: The part that is computed here, from 1, and how many there are; None: all.
    """

    device: Annotated[str, PLACE] = "auto"
    dtype: Annotated[str, DTYPE] = "auto"
    jobs: Annotated[int, JOBS] = 1
    devices: Annotated[tuple[str, ...], DEVICES] = ()
    engine: Annotated[Engine, ENGINE] = "processes"
    shard: Annotated[tuple[int, int] | None, SHARD] = None

    @property
    def places(self) -> tuple[str, ...]:
        """The device of each process."""
        return (self.devices or (self.device,)) * self.jobs


HERE = Spread()
"""In one process, wherever it suits."""


@dataclass(frozen=True, kw_only=True)
class CheckOptions(Spread, Request):
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
        images: Images of each prompt to begin with; what they leave undecided draws more by itself.
        fast: Weight gates and K/V drift only; no image is made.
        encoder: Another judge, hub id or folder: a CLIP takes the place of the CLIP, a DINOv2 of the identity judge.
    """

    rev: Annotated[str, REV] = "HEAD"
    since: Annotated[str | None, Option("Compare with this revision instead of each birth.", "REV")] = None
    concepts: Annotated[
        tuple[str, ...], Option("Check only this one; may be repeated.", "NAME", flags="--concept", repeated=True)
    ] = ()
    metrics: Annotated[
        tuple[str, ...],
        Option(
            f"{_one_of(METRIC_NAMES)}, by commas.",
            "NAMES",
            flags="--metric",
            repeated=True,
        ),
    ] = ()
    max_drop: Annotated[
        Mapping[str, float], Option("Largest drop (or growth) that still counts as kept.", "[METRIC=]X", repeated=True)
    ] = field(default_factory=dict)
    minimum: Annotated[
        Mapping[str, float],
        Option("Least mean score that counts as kept.", "[METRIC=]X", flags="--min", repeated=True),
    ] = field(default_factory=dict)
    prompts: Annotated[
        Path | None,
        Option("Judge prompts, a line each; {} is the concept.", "FILE", exists=True, dir_okay=False),
    ] = None
    images: Annotated[int | None, Option("Images of each prompt, to begin with.", "N", min=1, max=200)] = None
    seed: Annotated[int | None, Option("Same seed, same images.", "SEED", "--seed -s", min=0, max=MAX_SEED)] = None
    fast: Annotated[bool, Option("Weights and K/V drift only; makes no image.")] = False
    encoder: Annotated[str | None, Option("Another CLIP or DINOv2 as judge: a folder or hub id.", "E")] = None

    @property
    def by_the_registry(self) -> bool:
        """Whether nothing was said but what to check and where: all concepts, by the limits and prompts of files."""
        said = (self.since, self.concepts, self.metrics, self.max_drop, self.minimum, self.prompts, self.images)
        return not any(said) and not self.fast and not self.shard and self.seed is None and self.encoder is None


@dataclass(frozen=True, kw_only=True)
class ReportOptions(Spread, Request):
    """Write the report of one revision.

    Attributes:
        out: The file.
        images: Pictures of each prompt on them.
        pictures: Show contact sheets; pictures that are not in the cache are made.
        fill: Compute every score of the matrix that is not stored.
    """

    rev: Annotated[str, REV] = "HEAD"
    out: Annotated[Path, Option("The page.", "FILE", flags="-o --out", check=file_to_write)] = Path("report.html")
    images: Annotated[int, Option("Pictures of each prompt.", "N", min=1, max=8)] = 2
    pictures: Annotated[
        bool, Option("Make no pictures; needs no base model.", flags="--no-images", absent=False, check=not_)
    ] = True
    fill: Annotated[bool, Option("Compute every score of the matrix that is missing.")] = False


@dataclass(frozen=True, kw_only=True)
class FsckOptions(Request):
    """Check a registry.

    Attributes:
        read_data: Also decode what concepts and evaluations hold.
        rebuild: Afterwards make again what can be made again; nothing is changed otherwise.
    """

    read_data: Annotated[bool, Option("Also decode every mask, integer and image, and sum every model.")] = False
    rebuild: Annotated[bool, Option("Make index, MLflow record, damaged refs and logs again.")] = False


@dataclass(frozen=True, kw_only=True)
class GcOptions(Request):
    """Collect garbage.

    Attributes:
        dry_run: Only say what would go.
        grace_s: How long unreachable objects stay, in seconds; None: two weeks.
    """

    dry_run: Annotated[bool, Option("Only say what would be removed.")] = False
    grace_s: Annotated[
        float | None, Option("Age at which they go, e.g. 3d; or now. Else 14d.", "AGE", flags="--prune", parser=age)
    ] = None
