"""From a base's folder to a pipeline that runs: explicit classes, safetensors only, float32.

A `model_index.json` from a stranger can name any class; it is only compared with an allow-list (`cns.files.pipelines`),
and the classes that are loaded are written down in this file. No pickle, no code from the folder, no safety checker, no
Auto class. The files hold every tensor of the model and no other: libraries draw what is missing at random, with a line
in a log. The weights come up in float32 whatever their file holds: these are the masters that deltas are added to;
casting for speed is the caller's.

Which folder it is and whether it is still the same base is the part of `cns.files.bases`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from cns.errors import BaseModelError, SettingsError
from cns.files.bases import family_at, resolve_base
from cns.files.models import SENTENCEPIECE, check_part, read_json, tensors_of, weight_files
from cns.files.pipelines import TOKENS, check_index, denoiser_part, models_of, parts_of, tells_size, unsupported
from cns.files.plain import reason_of
from cns.precision import compute_in
from cns.quiet import quiet_libraries
from cns.sparing import spare
from cns.spreading import BALANCED, spread
from cns.text import TOKENIZERS, text_encoders, tokenizers
from cns.tokens import expand_tokens

with quiet_libraries():
    import diffusers
    from diffusers import (
        AutoencoderDC,
        AutoencoderKL,
        ModelMixin,
        PixArtAlphaPipeline,
        PixArtSigmaPipeline,
        PixArtTransformer2DModel,
        SanaPipeline,
        SanaTransformer2DModel,
        StableDiffusionPipeline,
        StableDiffusionXLPipeline,
        UNet2DConditionModel,
    )
    from transformers import (
        CLIPTextModel,
        CLIPTextModelWithProjection,
        CLIPTokenizer,
        Gemma2Model,
        GemmaTokenizer,
        T5EncoderModel,
        T5Tokenizer,
    )

__all__ = ["load_pipeline", "pick_device", "resolve_base"]

DEVICES = ("auto", "cpu", "cuda", "mps", BALANCED)
CLASSES: Mapping[str, Any] = {
    "AutoencoderDC": AutoencoderDC,
    "AutoencoderKL": AutoencoderKL,
    "CLIPTextModel": CLIPTextModel,
    "CLIPTextModelWithProjection": CLIPTextModelWithProjection,
    "CLIPTokenizer": CLIPTokenizer,
    "CLIPTokenizerFast": CLIPTokenizer,
    "Gemma2Model": Gemma2Model,
    "GemmaTokenizer": GemmaTokenizer,
    "GemmaTokenizerFast": GemmaTokenizer,
    "PixArtAlphaPipeline": PixArtAlphaPipeline,
    "PixArtSigmaPipeline": PixArtSigmaPipeline,
    "PixArtTransformer2DModel": PixArtTransformer2DModel,
    "SanaPipeline": SanaPipeline,
    "SanaTransformer2DModel": SanaTransformer2DModel,
    "T5EncoderModel": T5EncoderModel,
    "T5Tokenizer": T5Tokenizer,
    "T5TokenizerFast": T5Tokenizer,
    "Transformer2DModel": PixArtTransformer2DModel,
    "UNet2DConditionModel": UNet2DConditionModel,
}
"""What an index calls a part, or a whole with a transformer -> what is loaded. Which part may be of which class is said
by `cns.files.pipelines`."""
UNREAD = ("position_ids", "text_projection.weight")  # of a CLIP: a counter, and what no cross-attention reads


def pick_device(name: str = "auto") -> torch.device:
    """The device to compute on.

    Args:
        name: "auto" (the best there is), "cpu", "cuda" (or "cuda:1"), "mps", or "balanced": the first GPU.

    Raises:
        SettingsError: no such device, or this machine lacks it.
    """
    name = "cuda:0" if name == BALANCED else name
    kind = name.partition(":")[0]
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(device for device in ("cuda", "mps", "cpu") if available[device]))
    if kind not in available:
        raise SettingsError(
            f"no device is called {name!r}: expected one of {', '.join(DEVICES)}", name="device", value=name
        )
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SettingsError(f"{name!r} is no device: expected for example cuda:0", name="device", value=name) from error
    if not available[kind] or (kind == "cuda" and (device.index or 0) >= torch.cuda.device_count()):
        raise SettingsError(
            f"this machine has no {name} that torch can use",
            "Leave the choice open: --device auto",
            name="device",
            value=name,
        )
    return device


def load_pipeline(
    folder: Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32, *, balanced: bool = False
) -> StableDiffusionPipeline:
    """Load a base from its folder, ready to generate and to be trained.

    Args:
        folder: A diffusers folder, as `resolve_base` returns it.
        device: Where the components go.
        dtype: In which format the denoiser computes, see `cns.precision`.
        balanced: Spread denoiser and text encoders over all GPUs, of which `device` is the first; for pictures alone.

    Returns:
        A pipeline whose other modules are float32, in evaluation mode and without gradients; no progress bar, no safety
        checker. Its tokenizer pads to no more than the text encoder reads, which knows its true end-of-text id.

    Raises:
        BaseModelError: the folder is no supported pipeline, names a class outside the allow-list, or lacks a file.
    """
    scheduler_class = getattr(diffusers, check_index(folder))
    for part in parts_of(folder):
        check_part(folder, part)
    family_at(folder)
    with quiet_libraries():
        index, denoiser = read_json(folder / "model_index.json"), denoiser_part(folder)
        classes = {part: CLASSES[index[part][-1]] for part in parts_of(folder) if part != "scheduler"}
        parts = {denoiser: _load(classes[denoiser], folder, denoiser)}
        spare(parts[denoiser])
        compute_in(parts[denoiser], dtype)  # before the others are loaded: until then it takes memory twice
        parts |= {part: _load(classes[part], folder, part) for part in models_of(folder) if part != denoiser}
        for name, module in parts.items():
            module.requires_grad_(False).eval()
            spread(module, torch.device(device)) if balanced and name != "vae" else module.to(device)
        parts |= {part: _read_tokenizer(classes[part], folder, part) for part in classes if part in TOKENIZERS}
        parts["scheduler"] = _read(scheduler_class, folder, "scheduler")
        pipeline = _assembled(parts, index)
    if getattr(parts[denoiser], "use_additional_conditions", False) and not tells_size(folder):
        raise unsupported(folder, "its denoiser asks for the size of its pictures, and its pipeline never tells it")
    _fit_tokenizers(pipeline, folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _assembled(parts: dict[str, Any], index: Mapping[str, Any]) -> Any:
    """The pipeline of these parts."""
    if "transformer" in parts:
        pipeline = CLASSES[index["_class_name"]](**parts)
        # A prompt is read as ours are, in whatever way the pipeline is called; see `cns.sampling.draw_latents`.
        pipeline._text_preprocessing = partial(_as_read, pipeline)
        return pipeline
    if "text_encoder_2" in parts:
        zeros = bool(index.get("force_zeros_for_empty_prompt", True))
        return StableDiffusionXLPipeline(**parts, force_zeros_for_empty_prompt=zeros, add_watermarker=False)
    return StableDiffusionPipeline(**parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False)


def _as_read(pipeline: Any, text: str | Sequence[str], **_clean: bool) -> list[str]:
    """What the `_text_preprocessing` of PixArt and Sana is for: lower case, all vectors of a token; never cleaned."""
    return expand_tokens(pipeline.tokenizer, [text] if isinstance(text, str) else text)


def _read_tokenizer(tokenizer_class: Any, folder: Path, part: str) -> Any:
    """A tokenizer; one that is a SentencePiece file alone is read by a library that is not always there."""
    place = folder / part
    if (place / SENTENCEPIECE).exists() and not (place / "tokenizer.json").exists() and not find_spec("sentencepiece"):
        raise BaseModelError(
            f"{place} has its vocabulary in {SENTENCEPIECE}, which the library sentencepiece reads: it is missing",
            "pip install 'cns-cli[t5]'",
            source=str(folder),
        )
    if tokenizer_class is GemmaTokenizer and not (place / "tokenizer.json").exists():
        raise unsupported(folder, "its tokenizer lacks tokenizer.json")
    return _read(tokenizer_class, folder, part)


def _fit_tokenizers(pipeline: Any, folder: Path) -> None:
    """Let tokenizers cut where the text encoders do, and these know where a text ends; refuse two that differ."""
    words, encoders = tokenizers(pipeline), text_encoders(pipeline)
    if any(one.get_vocab() != words[0].get_vocab() for one in words):
        raise unsupported(folder, "its two tokenizers have different vocabularies")
    length = TOKENS.get(type(pipeline).__name__)
    if length is None:
        positions = min(encoder.config.max_position_embeddings for encoder in encoders)
        length = min(positions, *(one.model_max_length for one in words))
    elif words[0].pad_token_id != encoders[0].config.pad_token_id:
        raise unsupported(folder, "its tokenizer fills up a prompt in another way than its text encoder expects")
    for tokenizer, encoder in zip(words, encoders, strict=True):
        tokenizer.model_max_length, tokenizer.padding_side = length, "right"
        fix_end_of_text(encoder, tokenizer)
        encoder.set_input_embeddings(encoder.get_input_embeddings())  # T5 reads by a second layer of the same weight


def fix_end_of_text(text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer) -> None:
    """Tell a CLIP text encoder, and whoever reads its config again, its true end-of-text id.

    Configs written before 2023, and SDXL's, say `eos_token_id: 2`; with it the pooled vector is taken at the *largest*
    id, which an added special token then is. K and V read all positions and do not care; SDXL's denoiser does, which
    reads the pooled vector.
    """
    for module in text_encoder.modules():
        if hasattr(module, "eos_token_id"):
            module.eos_token_id = module.config.eos_token_id = tokenizer.eos_token_id


def _load(model_class: Any, folder: Path, component: str) -> Any:
    """One module from safetensors, in float32."""
    files = weight_files(folder, component)
    check_size(model_class, folder / component, files)
    variant = "fp16" if ".fp16" in files[0].name else None
    options = {"dtype": torch.float32, "use_safetensors": True, "variant": variant, "output_loading_info": True}
    model, names = _read(model_class, folder, component, **options)
    check_names(folder / component, names)
    return model


def _read(part_class: Any, folder: Path, component: str, **options: Any) -> Any:
    """One part by an explicit class, from local files."""
    try:
        return part_class.from_pretrained(folder / component, local_files_only=True, **options)
    except Exception as error:
        raise BaseModelError(
            f"the {component} of the base at {folder} cannot be loaded: {reason_of(error)[:300]}", source=str(folder)
        ) from error


def check_names(place: Path, names: Mapping[str, Any]) -> None:
    """Make sure that files held every tensor of a model and no other.

    Args:
        place: The folder of the model.
        names: What `from_pretrained` of diffusers or transformers told with `output_loading_info`.

    Raises:
        BaseModelError: one is missing, and would be drawn at random, or one is left over, which the model should use.
    """
    missing, surplus = sorted(names["missing_keys"]), sorted(names["unexpected_keys"])
    surplus = [name for name in surplus if not name.endswith(UNREAD)]
    if not missing and not surplus:
        return
    said = [f"{what} {_some(found)}" for what, found in (("lack", missing), ("hold", surplus)) if found]
    inside = any(".base_layer." in name or ".lora_" in name for name in surplus)
    raise BaseModelError(
        f"the weights in {place} {' and '.join(said)}"
        + ("; the model was saved with a LoRA inside" if inside else f", unlike the model of {place / 'config.json'}"),
        "merge the LoRA before saving: pipeline.fuse_lora(), pipeline.unload_lora_weights(), save_pretrained(FOLDER)"
        if inside
        else "Get the base model again from where it is published",
        source=str(place.parent),
    )


def _some(names: list[str]) -> str:
    return f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else names[0]


def check_size(model_class: Any, place: Path, files: list[Path]) -> None:
    """Make sure that a config describes no larger model than its weights are, before memory is taken for it.

    Args:
        model_class: Of diffusers or transformers.
        place: The folder with `config.json`.
        files: Its safetensors files.

    Raises:
        BaseModelError: it does, or describes none.
    """
    stored, config = tensors_of(files), place / "config.json"
    try:
        described = _parameters(model_class, place, config.read_bytes())
    except Exception as error:
        raise BaseModelError(
            f"{config} describes no model: {reason_of(error)[:300]}", source=str(place.parent)
        ) from error
    if described > stored + stored // 10 + 1000:
        raise BaseModelError(
            f"{config} describes {described:,} parameters, its weights are {stored:,}",
            "Get the base model again from where it is published",
            source=str(place.parent),
        )


def _parameters(model_class: Any, place: Path, config: bytes) -> int:
    """How many parameters a config describes; a process that opens a base again counts them once."""
    if (model_class, config) not in _COUNTED:
        with torch.device("meta"), quiet_libraries():  # shapes without memory
            if issubclass(model_class, ModelMixin):
                model = model_class.from_config(model_class.load_config(place, local_files_only=True))
            else:
                model = model_class(model_class.config_class.from_pretrained(place, local_files_only=True))
        _COUNTED[model_class, config] = sum(parameter.numel() for parameter in model.parameters())
    return _COUNTED[model_class, config]


_COUNTED: dict[tuple[Any, bytes], int] = {}
