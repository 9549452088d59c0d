"""Tiny random pipelines of every supported family: real classes, real file layout, a few tens of kilobytes.

`tiny_sd(folder)` writes a diffusers folder that loads, trains and generates like its big sister, 64x64 pixels at a
time, but draws noise. It ships its own judges (`clip/`, `identity/`), as the embedded base does, so no test needs a
hub. Same (seed, variant) -> same bytes.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch

from cns.judges.identity import IdentityEncoder
from cns.quiet import quiet_libraries
from cns.tokens import sana_instruction

with quiet_libraries():
    from diffusers import (
        AutoencoderDC,
        AutoencoderKL,
        DDIMScheduler,
        DPMSolverMultistepScheduler,
        EulerDiscreteScheduler,
        PixArtAlphaPipeline,
        PixArtSigmaPipeline,
        PixArtTransformer2DModel,
        PNDMScheduler,
        SanaPipeline,
        SanaTransformer2DModel,
        SchedulerMixin,
        StableDiffusionPipeline,
        StableDiffusionXLPipeline,
        UNet2DConditionModel,
    )
    from transformers import (
        CLIPConfig,
        CLIPModel,
        CLIPTextConfig,
        CLIPTextModel,
        CLIPTextModelWithProjection,
        CLIPTokenizer,
        Gemma2Config,
        Gemma2Model,
        GemmaTokenizer,
        T5Config,
        T5EncoderModel,
        T5Tokenizer,
    )

UNETS = ("sd-1", "sd-2", "sdxl", "emoji-64")
VARIANTS = (*UNETS, "pixart", "sana")
PLAIN = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
PIPELINES = {
    "sdxl": (StableDiffusionXLPipeline, {"add_watermarker": False}),
    "pixart": (PixArtSigmaPipeline, {}),
    "pixart-alpha": (PixArtAlphaPipeline, {}),
    "sana": (SanaPipeline, {}),
}
WIDTH = 32
SECOND_WIDTH = 40
POOLED = 12
SIZE = 64
POSITIONS = 24
NOUNS = ("dog", "cat", "car", "house", "apple", "tree", "star", "guitar", "frog", "cup")
TEXT = """
a an the of on in at and with to by photo picture painting small large red green blue white black yellow background
grass beach snow night sky sunset table wooden street garden kitchen bright dark old new
"""
WORDS = (*NOUNS, *re.findall(r"\w+", TEXT))
BOS, EOS = "<|startoftext|>", "<|endoftext|>"


def tiny_sd(folder: Path, seed: int = 0, variant: str = "sd-1") -> Path:
    """Write a tiny random pipeline and its judges.

    Args:
        folder: Where; made if absent.
        seed: Of all weights.
        variant: "sd-1" (noise prediction, quick GELU), "sd-2" (velocity prediction, linear projections, pad "!"),
            "sdxl" (two text encoders of different widths, pooled text and time ids), "pixart" (a transformer and a T5;
            "pixart-alpha" is told the size of its pictures), "sana" (a transformer and a Gemma; flow matching, 2x2
            latents) or "emoji-64" (16x16 latents; ships nouns and calibration prompts).

    Returns:
        The folder.
    """
    assert variant in (*VARIANTS, "pixart-alpha"), variant
    tokenizer = tiny_tokenizer(variant)
    with torch.random.fork_rng(devices=[]), quiet_libraries():
        torch.manual_seed(seed)
        if variant.startswith("pixart"):
            parts = {"transformer": _transformer(variant), "tokenizer": tiny_sentencepiece()}
            parts |= {"vae": _vae(variant), "text_encoder": _t5(parts["tokenizer"])}
        elif variant == "sana":
            parts = {"transformer": _sana(), "tokenizer": tiny_gemma()}
            parts |= {"vae": _autoencoder(), "text_encoder": _language_model(parts["tokenizer"])}
        else:
            parts = {"unet": _unet(variant), "vae": _vae(variant), "tokenizer": tokenizer}
            parts |= {"text_encoder": CLIPTextModel(_text_config(variant, tokenizer, WIDTH))}
        if variant == "sdxl":
            second = tiny_tokenizer("sd-2")  # of the same words, filled up by "!"
            config = _text_config("sd-2", second, SECOND_WIDTH)
            parts |= {"text_encoder_2": CLIPTextModelWithProjection(config), "tokenizer_2": second}
        whole, more = PIPELINES.get(variant, (StableDiffusionPipeline, PLAIN))
        whole(**parts, scheduler=_scheduler(variant), **more).save_pretrained(folder)
        tiny_clip(folder / "clip", tokenizer)
        IdentityEncoder((8, 16, 16), embedding_size=16).save_pretrained(folder / "identity")
    if variant == "emoji-64":
        prompts = [f"a {noun} {place}" for place in _places() for noun in NOUNS]
        (folder / "calibration.json").write_text(json.dumps({"version": 1, "prompts": prompts}))
        (folder / "nouns.json").write_text(json.dumps({"version": 1, "nouns": list(NOUNS)}))
    return folder


def tiny_tokenizer(variant: str = "sd-1") -> CLIPTokenizer:
    """A small byte-level BPE in CLIP's own form: every byte, with and without `</w>`, and the words of `WORDS`."""
    alphabet = list(_byte_alphabet())
    pieces = alphabet + [f"{letter}</w>" for letter in alphabet]
    merges: list[tuple[str, str]] = []
    for word in dict.fromkeys(WORDS):
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            if (parts[0], parts[1]) not in merges:
                merges.append((parts[0], parts[1]))
                pieces.append(parts[0] + parts[1])
            parts[:2] = [parts[0] + parts[1]]
    vocabulary = {piece: place for place, piece in enumerate([*dict.fromkeys(pieces), BOS, EOS])}
    return CLIPTokenizer(
        vocab=vocabulary,
        merges=merges,
        pad_token="!" if variant == "sd-2" else EOS,
        model_max_length=POSITIONS,
    )


def tiny_sentencepiece() -> T5Tokenizer:
    """A small T5 vocabulary: the words of `WORDS`, and single letters; padding, an end, and what is not known."""
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    words = [(f"▁{word}", -3.0) for word in dict.fromkeys(WORDS)]
    letters = [(letter, -9.0) for letter in map(chr, range(33, 127))]
    return T5Tokenizer(vocab=[*special, *words, *letters], extra_ids=0, model_max_length=POSITIONS)


def _t5(tokenizer: T5Tokenizer) -> T5EncoderModel:
    """Its embedding has room for two tokens beyond the vocabulary, as T5's has for 28."""
    return T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer) + 2,
            d_model=WIDTH,
            d_kv=8,
            d_ff=2 * WIDTH,
            num_layers=2,
            num_heads=2,
            feed_forward_proj="gated-gelu",
            dropout_rate=0.0,
            tie_word_embeddings=False,
        )
    )


def tiny_gemma() -> GemmaTokenizer:
    """A small Gemma vocabulary: the words of `WORDS` and of the instruction, and single letters."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    merges: dict[tuple[str, str], None] = {}
    for word in [*WORDS, *sana_instruction().split()]:
        merges |= {(f"▁{word[:place]}", word[place]): None for place in range(len(word))}
    pieces = [*special, "▁", "\n", *map(chr, range(33, 127)), *(first + second for first, second in merges)]
    vocabulary = {piece: place for place, piece in enumerate(pieces)}
    return GemmaTokenizer(vocab=vocabulary, merges=[*merges], add_bos_token=True)


def _language_model(tokenizer: GemmaTokenizer) -> Gemma2Model:
    return Gemma2Model(
        Gemma2Config(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            num_hidden_layers=2,
            num_attention_heads=1,
            num_key_value_heads=1,
            head_dim=8,
            query_pre_attn_scalar=8,
        )
    )


def _sana() -> SanaTransformer2DModel:
    heads = {"num_attention_heads": 2, "attention_head_dim": 12}
    across = {"num_cross_attention_heads": 2, "cross_attention_head_dim": 12, "cross_attention_dim": 24}
    channels = {"in_channels": 4, "out_channels": 4, "caption_channels": WIDTH}
    return SanaTransformer2DModel(sample_size=2, num_layers=2, **heads, **across, **channels)


def _autoencoder() -> AutoencoderDC:
    """Of 32 pixels a side one latent, as Sana's."""
    levels, blocks = 6, ("ResBlock",) * 5 + ("EfficientViTBlock",)
    sides = {}
    for side in ("encoder", "decoder"):
        sides |= {f"{side}_block_types": blocks, f"{side}_block_out_channels": (8,) * levels}
        sides |= {f"{side}_layers_per_block": (1,) * levels, f"{side}_qkv_multiscales": ((),) * 5 + ((5,),)}
    return AutoencoderDC(latent_channels=4, attention_head_dim=8, scaling_factor=0.41407, **sides)


def _transformer(variant: str) -> PixArtTransformer2DModel:
    return PixArtTransformer2DModel(
        sample_size=8 if variant == "pixart" else 128,
        num_layers=2,
        num_attention_heads=2,
        attention_head_dim=12,
        cross_attention_dim=24,
        caption_channels=WIDTH,
        in_channels=4,
        out_channels=8,
        use_additional_conditions=variant == "pixart-alpha",
    )


def tiny_clip(folder: Path, tokenizer: CLIPTokenizer) -> Path:
    """Write a tiny random CLIP (images of 32x32) with its tokenizer and preprocessor config."""
    layers = {"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={**layers, **_text_ids(tokenizer), "max_position_embeddings": POSITIONS, "projection_dim": 16},
        vision_config={**layers, "image_size": 32, "patch_size": 8, "projection_dim": 16},
        projection_dim=16,
    )
    CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    preprocessor = {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": 32},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": 32, "width": 32},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.48, 0.45, 0.40],
        "image_std": [0.27, 0.26, 0.27],
        "do_convert_rgb": True,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder


def _byte_alphabet() -> list[str]:
    """GPT-2's 256 printable stand-ins for bytes, in CLIP's order ("!" first)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + place) for place in range(len(others))]


def _text_ids(tokenizer: CLIPTokenizer) -> dict[str, int]:
    return {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": 2,  # as the configs of SD 1.x have it: wrong, and harmless only until a token is added
        "pad_token_id": tokenizer.pad_token_id,
    }


def _text_config(variant: str, tokenizer: CLIPTokenizer, width: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        **_text_ids(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=POSITIONS,
        **({"projection_dim": POOLED} if width == SECOND_WIDTH else {}),
        hidden_act="gelu" if variant == "sd-2" else "quick_gelu",
    )


def _unet(variant: str) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=16 if variant == "emoji-64" else 8,
        block_out_channels=(16, 32),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=WIDTH + SECOND_WIDTH if variant == "sdxl" else WIDTH,
        attention_head_dim=2,
        use_linear_projection=variant in ("sd-2", "sdxl"),
        **(_XL if variant == "sdxl" else {}),
    )


_XL = {
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": POOLED + 6 * 8,
    "transformer_layers_per_block": (1, 2),
}


def _vae(variant: str) -> AutoencoderKL:
    levels = 3 if variant == "emoji-64" else 4
    return AutoencoderKL(
        sample_size=SIZE,
        block_out_channels=(8,) * levels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=4,
        scaling_factor=0.13025 if variant in ("sdxl", "pixart") else 0.18215,
    )


def _scheduler(variant: str) -> SchedulerMixin:
    shared = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
    if variant == "sd-1":
        return PNDMScheduler(**shared, skip_prk_steps=True)
    if variant.startswith("pixart"):
        return DPMSolverMultistepScheduler(beta_start=0.0001, beta_end=0.02)
    if variant == "sana":
        return DPMSolverMultistepScheduler(use_flow_sigmas=True, flow_shift=3.0, prediction_type="flow_prediction")
    if variant == "sdxl":
        return EulerDiscreteScheduler(**shared, timestep_spacing="leading")
    return DDIMScheduler(**shared, clip_sample=False, set_alpha_to_one=False, prediction_type="v_prediction")


def _places() -> list[str]:
    colours = ("red", "green", "blue", "white", "black", "yellow")
    scenes = ("on the grass", "on the beach", "in the snow", "in the night sky", "at sunset", "on a wooden table")
    kinds = ("", " in the garden", " by the street")
    plain = [f"on a {colour} background" for colour in colours]
    return [place + kind for place in (*plain, *scenes) for kind in kinds][:24]
