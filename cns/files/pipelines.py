"""What a pipeline folder says of itself, compared with what is supported, before anything is loaded or hashed.

A `model_index.json` names classes and may come from a stranger: it is only compared with the lists below, and never
leads to a class by itself. What a scheduler's config asks for is looked at as well. No torch here; whether a schedule
works is tried by `cns.steps`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cns.errors import BaseModelError
from cns.files.architectures import why_not
from cns.files.models import read_json

_TOKENIZERS = ("CLIPTokenizer", "CLIPTokenizerFast")
_ONE_ENCODER = {
    "unet": ("UNet2DConditionModel",),
    "vae": ("AutoencoderKL",),
    "text_encoder": ("CLIPTextModel",),
    "tokenizer": _TOKENIZERS,
}
_TWO_ENCODERS = {**_ONE_ENCODER, "text_encoder_2": ("CLIPTextModelWithProjection",), "tokenizer_2": _TOKENIZERS}
_TRANSFORMER = {
    "transformer": ("PixArtTransformer2DModel", "Transformer2DModel"),
    "vae": ("AutoencoderKL",),
    "text_encoder": ("T5EncoderModel",),
    "tokenizer": ("T5Tokenizer", "T5TokenizerFast"),
}
_LANGUAGE_MODEL = {
    "transformer": ("SanaTransformer2DModel",),
    "vae": ("AutoencoderDC",),
    "text_encoder": ("Gemma2Model",),
    "tokenizer": ("GemmaTokenizer", "GemmaTokenizerFast"),
}
PIPELINES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "StableDiffusionPipeline": _ONE_ENCODER,
    "StableDiffusionImg2ImgPipeline": _ONE_ENCODER,
    "StableDiffusionInpaintPipeline": _ONE_ENCODER,
    "StableDiffusionXLPipeline": _TWO_ENCODERS,
    "StableDiffusionXLImg2ImgPipeline": _TWO_ENCODERS,
    "StableDiffusionXLInpaintPipeline": _TWO_ENCODERS,
    "PixArtAlphaPipeline": _TRANSFORMER,
    "PixArtSigmaPipeline": _TRANSFORMER,
    "SanaPipeline": _LANGUAGE_MODEL,
}
"""Pipeline -> its parts beside the scheduler, and which classes each may have.

Whatever of these saved a folder, the parts are the same; a denoiser for inpainting is told by its channels."""

TRANSFORMERS = {
    name: line for line, parts in (("pixart", _TRANSFORMER), ("sana", _LANGUAGE_MODEL)) for name in parts["transformer"]
}
"""Class of a denoiser -> its family; PixArt's published configs name the class that it had before 2024."""

TOKENS = {"PixArtAlphaPipeline": 120, "PixArtSigmaPipeline": 300, "SanaPipeline": 300}
"""How many tokens of a prompt a pipeline reads, where neither its tokenizer nor its text encoder says so."""

SCHEDULERS = (
    "DDIMScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
)
FLOWS = {"DPMSolverMultistepScheduler": "flow_shift", "FlowMatchEulerDiscreteScheduler": "shift"}
"""Schedulers of flow matching, by which Sana was trained, and what each calls the shift of its noise."""
UNUSED = ("safety_checker", "feature_extractor", "image_encoder")  # named by many pipelines, loaded by none of ours
PREDICTIONS = ("epsilon", "v_prediction")
UNSUPPORTED = {
    "num_class_embeds": "takes class labels",
    "class_embed_type": "takes class labels",
    "encoder_hid_dim": "projects the text features before reading them",
    "encoder_hid_dim_type": "projects the text features before reading them",
    "time_cond_proj_dim": "takes the guidance as an input, as latent consistency models do",
    "only_cross_attention": "reads the text where others read the picture",
    "dual_cross_attention": "reads two texts",
    "attention_type": "reads where things are, as GLIGEN does",
}
"""What a denoiser's config may not ask for, and what it would be."""


ADDED = "text_time"
"""What the denoiser of a pipeline with two text encoders is told beside the text: their pooled vector, and time ids."""


def check_index(folder: Path) -> str:
    """Compare a folder's index and its scheduler's config with what is supported; return the scheduler's class name.

    Raises:
        BaseModelError: it names another pipeline, part or class, or a schedule that no picture comes out of.
    """
    index = read_json(folder / "model_index.json")
    classes = _classes(folder, index)
    schedulers = FLOWS if index["_class_name"] == "SanaPipeline" else SCHEDULERS
    parts = {name: part for name, part in index.items() if isinstance(part, list) and part and part[-1] is not None}
    for name, part in parts.items():
        if name == "scheduler" and part[-1] not in schedulers:
            raise unsupported(
                folder,
                f"its scheduler is {part[-1]!r}, expected one of {', '.join(schedulers)}",
                f"for a base that was trained so: name another in {folder / 'model_index.json'} and in "
                f"{folder / 'scheduler' / 'scheduler_config.json'}",
            )
        if name not in (*UNUSED, "scheduler") and part[-1] not in classes.get(name, ()):
            raise unsupported(folder, f"its {name} is of class {part[-1]!r}, which is not on the allow-list")
    if missing := sorted({*classes, "scheduler"} - set(parts)):
        raise unsupported(folder, f"its model_index.json names no {missing[0]}")
    scheduler = str(parts["scheduler"][-1])
    (_check_flow if schedulers is FLOWS else _check_schedule)(folder, scheduler)
    return scheduler


def parts_of(folder: Path) -> tuple[str, ...]:
    """The parts of a pipeline that are loaded, by its index: denoiser, autoencoder, text encoders; then tokenizers.

    Raises:
        BaseModelError: it is a pipeline of another kind.
    """
    return (*_classes(folder, read_json(folder / "model_index.json")), "scheduler")


def models_of(folder: Path) -> list[str]:
    """The parts of a base that have weights."""
    return [part for part in parts_of(folder) if not part.startswith(("tokenizer", "scheduler"))]


def denoiser_part(folder: Path) -> str:
    """The name of the part that is the denoiser; raises BaseModelError as `parts_of`."""
    return "transformer" if "transformer" in parts_of(folder) else "unet"


def tells_size(folder: Path) -> bool:
    """Whether a pipeline tells its denoiser how large a picture is, as PixArt-alpha's does at 1024 pixels alone."""
    alpha = read_json(folder / "model_index.json").get("_class_name") == "PixArtAlphaPipeline"
    return alpha and read_json(folder / "transformer" / "config.json").get("sample_size") == 128


def _classes(folder: Path, index: Mapping[str, Any]) -> Mapping[str, tuple[str, ...]]:
    name = index.get("_class_name")
    if not isinstance(name, str) or name not in PIPELINES:
        known = why_not(name) if isinstance(name, str) else None
        raise unsupported(folder, known or f"its pipeline is {name!r}, expected {' or '.join(PIPELINES)}")
    return PIPELINES[name]


def is_flow(scheduler: str, config: Mapping[str, Any]) -> bool:
    """Whether a scheduler, by its class and config, is one of flow matching, whose target is noise - latents."""
    asked = config.get("use_flow_sigmas") and config.get("prediction_type") == "flow_prediction"
    return scheduler in FLOWS and bool(asked or scheduler.startswith("FlowMatch"))


def _check_flow(folder: Path, scheduler: str) -> None:
    """Refuse the schedule of noise prediction for a denoiser that learned by flow matching."""
    path = folder / "scheduler" / "scheduler_config.json"
    if not is_flow(scheduler, read_json(path)):
        raise unsupported(
            folder,
            f"its denoiser learned by flow matching, and its {scheduler} has another schedule",
            f'name it in {path}: "use_flow_sigmas": true, "prediction_type": "flow_prediction"',
        )


def _check_schedule(folder: Path, _scheduler: str) -> None:
    """Refuse a schedule by its config: another target, or one whose noisiest step says nothing of the picture.

    Where the signal is zero at the last step, predicted noise is the input itself and the picture a division by zero:
    Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed" (WACV 2024), section 3.2.
    """
    path = folder / "scheduler" / "scheduler_config.json"
    config = read_json(path)
    found = config.get("prediction_type", PREDICTIONS[0])
    if found not in PREDICTIONS:
        raise unsupported(folder, f"its scheduler predicts {found!r}, expected {' or '.join(PREDICTIONS)}")
    if config.get("use_flow_sigmas"):
        raise unsupported(folder, "its scheduler has the noise of flow matching (use_flow_sigmas)")
    if config.get("rescale_betas_zero_snr") and found == "epsilon":
        raise unsupported(
            folder,
            "its scheduler has zero terminal SNR (rescale_betas_zero_snr) and predicts noise (epsilon), of which the "
            "first step makes NaN",
            f"put right what is wrong of the two in {path}: prediction_type or rescale_betas_zero_snr",
        )


def distilled(folder: Path) -> str | None:
    """What is to be known of a base whose schedule is that of models which draw in a few steps; None of others.

    SD Turbo says so nowhere else: noise is predicted, and timesteps are counted from the noisiest ("trailing"), with no
    zero terminal SNR that would ask for it. Sauer et al., "Adversarial Diffusion Distillation" (ECCV 2024).
    """
    config = read_json(folder / "scheduler" / "scheduler_config.json")
    if config.get("timestep_spacing") != "trailing" or config.get("prediction_type", PREDICTIONS[0]) != "epsilon":
        return None
    return (
        "its schedule is that of bases that were distilled to draw in a few steps without guidance (turbo): nothing "
        "was measured on one, and previews and cns check draw with guidance; for pictures: cns generate --steps 4 "
        "--guidance 1"
    )


def latent_side(config: Mapping[str, Any]) -> int:
    """Side of the latents that a denoiser was made for, by its config: one number, or two that are equal.

    Raises:
        BaseModelError: it is neither.
    """
    size = config.get("sample_size")
    sides: list[Any] = [*size] if isinstance(size, (list, tuple)) else [size]
    if {type(side) for side in sides} != {int} or len({*sides}) != 1 or min(sides) < 1:
        raise BaseModelError(
            f"this base is not supported: sample_size of its denoiser is {str(size)[:40]}, expected one number",
            "set it in the config.json of the base's denoiser to the side of its pictures, divided by 8",
        )
    return int(sides[0])


def why_no_transformer(config: Mapping[str, Any], width: object) -> str | None:
    """The first property by which a transformer is none of `TRANSFORMERS` as published, or None.

    Args:
        config: Of the transformer.
        width: What its text encoder writes.
    """
    inner = config.get("num_attention_heads", 0) * config.get("attention_head_dim", 0)
    if config.get("norm_type", "ada_norm_single") != "ada_norm_single":
        return f"its transformer's norm_type is {str(config['norm_type'])[:40]}, expected ada_norm_single"
    if config.get("guidance_embeds"):
        return "its denoiser takes the guidance as an input (guidance_embeds), as Sana Sprint does"
    if config.get("caption_channels") != width:
        return (
            f"its denoiser projects {config.get('caption_channels')} values a token and its text encoder writes {width}"
        )
    if config.get("cross_attention_dim") != inner:
        return f"its cross-attention reads {config.get('cross_attention_dim')} values a token and {inner} are projected"
    if config.get("out_channels") not in (config.get("in_channels"), 2 * config.get("in_channels", 4)):
        return f"its denoiser reads {config.get('in_channels')} channels and writes {config.get('out_channels')}"
    return None


def why_unsupported(unet_config: Mapping[str, Any]) -> str | None:
    """The first property by which a denoiser is not a plain latent text-to-image UNet, or None."""
    if unet_config.get("_class_name") != "UNet2DConditionModel":
        return f"its denoiser is a {unet_config.get('_class_name')}, not a UNet2DConditionModel"
    for name, does in UNSUPPORTED.items():
        value = unet_config.get(name)
        if any(value) if isinstance(value, list) else value not in (None, False, "default"):
            return f"its denoiser {does} ({name} is {str(value)[:40]})"
    if (added := unet_config.get("addition_embed_type")) not in (None, ADDED):
        return f"its denoiser takes extra conditions (addition_embed_type is {str(added)[:40]}, expected {ADDED})"
    if unet_config.get("in_channels") != unet_config.get("out_channels"):
        return (
            f"its denoiser reads {unet_config.get('in_channels')} channels and writes "
            f"{unet_config.get('out_channels')}, as inpainting and upscaling models do"
        )
    if not isinstance(unet_config.get("cross_attention_dim"), int):
        return f"its cross-attention width is {unet_config.get('cross_attention_dim')}, not one number"
    return None


def unsupported(folder: Path, reason: str, hint: str = "in a new folder: cns init --base emoji-64") -> BaseModelError:
    """The error for a base that cannot be worked with."""
    return BaseModelError(f"the base at {folder} is not supported: {reason}", hint, source=str(folder))
