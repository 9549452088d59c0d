"""The lines of base models that the method supports: one `Family` row each.

A family holds what the method must know about a base and cannot read from its weights: default settings, prompt
templates (what the three sets are for is said in `templates.py`), calibration prompts and which judges score its
pictures.

The module knows no tensor and no file; `prompts.py` reads the lists that it names. Adding a family is one row here and
a tiny random config in `tests/tiny.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from cns.errors import BaseModelError, SettingsError
from cns.files.pipelines import ADDED, TRANSFORMERS, latent_side, why_no_transformer, why_unsupported
from cns.templates import Kind, TemplateSet, template_sets

COMPANY = 0.5
"""Share of its change with which a concept acts beside others where it is composed by name (`cns.named`): whole ones
crowd each other out. Chosen on the tuning stream of the benchmarks, of 0.25, 0.5, 0.75 and 1; the embedded base alone
was measured."""
BARE_SHARE = 0.125
"""Share of the draws of a captioned image that see the concept's phrase alone, "a <rex> dog", which people type most,
instead of the caption. Chosen on the tuning stream of the benchmarks, of 0, 1/8, 1/4 and 1/2: the highest identity over
judge prompts and bare ones. The embedded base alone was measured."""


@dataclass(frozen=True)
class TrainingSettings:
    """What a family has defaults for and a training takes.

    Attributes:
        score: Name of a score, built-in (`selection.SCORES`) or a plugin's.
        reg: Name of a regularizer, likewise (`regularizers.REGULARIZERS`).
        reg_strength: Weight a of the pull toward each old concept.
        anchor_strength: Weight b of the pull toward the base.
        steps: Finetuning steps after the warm-up.
        warmup_steps: Steps that train the token alone, before scoring.
        lr: Learning rate of the masked K/V weights.
        token_lr: Learning rate of the token's embedding row; twice that while it is trained alone.
        batch_size: Images a step.
        general_ratio: Share of each row that one calibration prompt marks as its strongest.
        general_vote: Share of the calibration prompts that must mark a weight before it counts as general.
    """

    score: str
    reg: str
    reg_strength: float
    anchor_strength: float
    steps: int
    warmup_steps: int
    lr: float
    token_lr: float
    batch_size: int
    general_ratio: float
    general_vote: float

    def shared(self) -> dict[str, Any]:
        """These fields alone, by name."""
        return {one.name: getattr(self, one.name) for one in fields(TrainingSettings)}


@dataclass(frozen=True)
class Defaults(TrainingSettings):
    """Settings of `cns add` and of generation where the user gives none.

    Attributes:
        budget_share_kv: Share of the K/V weights that one concept may change, or None.
        budget_share_denoiser: Share of the denoiser's parameters that one concept may change, or None. Exactly one
            of the two shares is set.
        resolution: Side of training and generated images, pixels; a base may name its own (`resolution_of`).
        guidance: Classifier-free guidance scale.
        sampler_steps: Denoising steps of one image.
        preview: Pictures that `cns add` draws of judge prompts before and after; of a big base a picture costs as much
            as 15 steps.
        check_images: Images for each judge prompt.
        max_drop: Drop of a score (cosine) that the gate calls forgetting.
        max_kv_drift: Relative squared drift of the K/V outputs since birth that the gate calls forgetting. It decides
            alone under `--fast`, where it stands for a drop of CLIP-I of `max_drop`: measured on the embedded base by
            `benchmarks/gate_fast.py`, taken over for Stable Diffusion.
        max_class_drift: How far pictures of the class noun alone may grow toward the concept (cosine). On the embedded
            base three honest concepts moved it by 0.05, and a learned concept lies 0.9 away.
        max_zero_shot: How far pictures of other things may move from the base's (1 - cosine, in CLIP).
        max_erased: Share of pictures of an erased noun that may still be called so: measured 0 to 0.02, and 0.75 to
            0.9 before an erasure (docs/erase.md); the limit itself is chosen.
        min_class_probability: Below this what CLIP makes of a picture's background is not taken into its caption; the
            class noun itself must reach `cns.judges.classnoun.SURE`.
    """

    budget_share_kv: float | None
    budget_share_denoiser: float | None
    resolution: int
    guidance: float
    sampler_steps: int
    preview: int
    check_images: int
    max_drop: float
    max_kv_drift: float
    max_class_drift: float
    max_zero_shot: float
    max_erased: float
    min_class_probability: float

    def budget(self, kv_weights: int, denoiser_parameters: int) -> int:
        """How many weights one concept may change on a base with these many weights; at least 1."""
        if self.budget_share_kv is not None:
            return max(1, int(self.budget_share_kv * kv_weights))
        assert self.budget_share_denoiser is not None
        return max(1, min(kv_weights, int(self.budget_share_denoiser * denoiser_parameters)))


@dataclass(frozen=True)
class Family:
    """One line of base models.

    Attributes:
        name: What people type, and what a base object records.
        describe: One sentence for help texts.
        reads_by: Its text encoder: files of other programs, erasing and weights of words are CLIP's alone.
        defaults: Settings where the user gives none.
        grid_bits: How fine the integer grid is, see `cns.grid.exponent` (docs/benchmarks.md has the measurement).
        directions: Rank of a change that acts where its concept is named; 0 = a mask, of the defaults' budget. Where
            all concepts act in every prompt a change has a mask (docs/benchmarks.md has what was measured of which).
        direction_lr: Learning rate along directions, in the place of the defaults', which is that of masked weights.
        calibration: File of the calibration list: in the base's folder if it ships one of that name, else in
            `cns/calibration`.
        nouns: File of the class nouns among which a concept's is looked for, found likewise.
        objects: Prompt templates for objects.
        style: The same for styles.
        clip: Hub id of the CLIP that judges, where the base ships none in `clip/`; None = it must ship one.
        identity: Hub id of the identity judge, where the base ships none in `identity/`; None = none but the base's.
        max_reconstruction_error: Beyond this (`cns.reconstruction`) pictures are none that the base can draw; None =
            not measured. On the embedded base all of 77 sets of drawings of this repository lie below 8.7, the median
            at 4.0; seven of nine sets of crops of three photographs between 9.3 and 12.7, the other two, of small
            parts, at 6.7 and 7.1; noise at 9.7 and more. Smooth pictures pass, at 2.3 to 4.5: these it can draw.
    """

    name: str
    describe: str
    reads_by: Literal["CLIP", "T5", "Gemma"]
    defaults: Defaults
    grid_bits: int
    directions: int
    direction_lr: float
    calibration: str
    nouns: str
    objects: TemplateSet
    style: TemplateSet
    clip: str | None
    identity: str | None
    max_reconstruction_error: float | None

    def templates(self, kind: Kind) -> TemplateSet:
        """The templates of a kind of concept."""
        return self.style if kind == "style" else self.objects

    @property
    def encoders(self) -> tuple[str, ...]:
        """Names of the judges, in the order in which scores are shown: the main score of the gate first."""
        return ("identity", "clip")


def family_named(name: str) -> Family:
    """The family with this name.

    Raises:
        SettingsError: there is none.
    """
    if name not in FAMILIES:
        raise SettingsError(
            f"no base family is called {name!r}: expected one of {', '.join(FAMILIES)}", name="family", value=name
        )
    return FAMILIES[name]


def family_of(config: Mapping[str, Any], *text_configs: Mapping[str, Any]) -> Family:
    """Tell a base's family from its own config files.

    Args:
        config: `config.json` of the pipeline's denoiser.
        text_configs: `config.json` of each of its text encoders.

    Raises:
        BaseModelError: the base is of no supported family; the message says by which property.
    """
    width = config.get("cross_attention_dim")
    widths = [text.get("hidden_size", text.get("d_model")) for text in text_configs]
    line = TRANSFORMERS.get(str(config.get("_class_name")))
    reason = why_no_transformer(config, widths[0]) if line else why_unsupported(config)
    if reason is None and not line and width != sum(one for one in widths if isinstance(one, int)):
        written = " + ".join(map(str, widths))
        reason = f"its cross-attention reads {width} values a token and its text encoder writes {written}"
    dual = len(text_configs) > 1
    if reason is None and dual != (config.get("addition_embed_type") == ADDED):
        expected = "one" if dual else "two, as SDXL's is"
        reason = f"its text encoders are {len(text_configs)}, and its denoiser is made for {expected}"
    if reason is not None:
        known = ", ".join(f"{family.name} ({family.describe})" for family in FAMILIES.values())
        raise BaseModelError(
            f"this base is not supported: {reason}. Expected one of: {known}",
            "in a new folder: cns init --base emoji-64",
        )
    # Latents of 16x16 are the embedded base's alone: Stable Diffusion starts at 64x64. Real SD 2.x is the line that
    # projects its spatial transformers by linear layers; the rule also holds for tiny random pipelines.
    if line:
        return FAMILIES[line]
    if dual:
        return FAMILIES["sdxl"]
    if latent_side(config) == EMBEDDED_SAMPLE_SIZE:
        return FAMILIES["emoji-64"]
    return FAMILIES["sd-2" if config.get("use_linear_projection") else "sd-1"]


EMBEDDED_SAMPLE_SIZE = 16  # latent side of the embedded base: 64 pixels, VAE factor 4

# Chosen, not tuned: Stable Diffusion at its real size has not been swept on this project's machines. The score reads
# the text encoder alone: on the embedded base it gains as much as the gradient's (docs/benchmarks.md), whose votes for
# general neurons cost as much here as the training.
SD_DEFAULTS = Defaults(
    score="wanda",
    reg="features",
    reg_strength=10.0,
    anchor_strength=1.0,
    steps=500,
    warmup_steps=100,
    lr=1e-4,
    token_lr=5e-3,
    batch_size=2,
    budget_share_kv=None,
    budget_share_denoiser=0.0013,
    general_ratio=0.25,
    general_vote=0.5,
    resolution=512,
    guidance=7.5,
    sampler_steps=30,
    preview=2,
    check_images=2,
    max_drop=0.02,
    max_kv_drift=0.002,
    max_class_drift=0.05,
    max_zero_shot=0.05,
    max_erased=0.2,
    min_class_probability=0.5,
)

EMOJI_64 = Family(
    name="emoji-64",
    describe="the embedded base: emoji scenes of 64x64 pixels",
    reads_by="CLIP",
    defaults=replace(
        SD_DEFAULTS,
        score="gradient",
        steps=250,
        warmup_steps=60,
        lr=3e-3,
        batch_size=5,
        budget_share_kv=0.058,
        budget_share_denoiser=None,
        resolution=64,
        guidance=2.0,
        sampler_steps=15,
        preview=20,
        max_class_drift=0.1,
    ),
    grid_bits=8,
    directions=4,
    direction_lr=1e-2,
    calibration="calibration.json",
    nouns="nouns.json",
    **template_sets("emoji-64"),
    clip=None,
    identity=None,
    max_reconstruction_error=9.0,
)

SD_1 = Family(
    name="sd-1",
    describe="Stable Diffusion 1.x: a folder, a file or a hub id",
    reads_by="CLIP",
    defaults=SD_DEFAULTS,
    grid_bits=11,
    directions=0,
    direction_lr=3e-4,
    calibration="sd.json",
    nouns="sd_nouns.json",
    **template_sets("sd"),
    clip="openai/clip-vit-base-patch32@c237dc49a33fc61debc9276459120b7eac67e7ef",  # main has no safetensors file
    identity="facebook/dinov2-base",
    max_reconstruction_error=None,
)

SD_2 = replace(SD_1, name="sd-2", describe="Stable Diffusion 2.x: a folder, a file or a hub id")

SDXL = replace(
    SD_1,
    name="sdxl",
    describe="Stable Diffusion XL and what has its parts, such as SSD-1B: a folder, a file or a hub id",
    defaults=replace(SD_DEFAULTS, resolution=1024, guidance=5.0),
)

PIXART = replace(
    SD_1,
    name="pixart",
    describe="PixArt-Sigma and PixArt-alpha: a folder or a hub id",
    reads_by="T5",
    defaults=replace(SD_DEFAULTS, resolution=1024, guidance=4.5, sampler_steps=20),
)

SANA = replace(PIXART, name="sana", describe="Sana: a folder or a hub id", reads_by="Gemma")

FAMILIES: dict[str, Family] = {family.name: family for family in (EMOJI_64, SD_1, SD_2, SDXL, PIXART, SANA)}
