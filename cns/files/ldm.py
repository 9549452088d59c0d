"""What the files of the first Stable Diffusion (LDM) say of their models, and what is the same in all of them.

Widths are read off the shapes of a file's tensors. What no tensor tells, heads, norm groups, the schedule and the
vocabulary, is the same in all of Stable Diffusion 1, 2 or XL and written down here.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cns.files.keys import LDM_PARTS, OPEN_CLIP, TEXT_MODEL, open_clip
from cns.files.models import MAX_LAYERS
from cns.files.plain import write_json

Header = Mapping[str, Mapping[str, Any]]

CLIP_MERGES = Path(__file__).parents[1] / "bases" / "clip" / "merges.txt.gz"
WORDS, POSITIONS = 49408, 77
H_LAYERS = 24
"""Of OpenCLIP's ViT-H: Stable Diffusion 2 reads the text before the last one, which is left out."""

BOS, EOS = "<|startoftext|>", "<|endoftext|>"
INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "scheduler": ["diffusers", "DDIMScheduler"],
}
INDEX_XL = INDEX | {
    "_class_name": "StableDiffusionXLPipeline",
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    "tokenizer_2": ["transformers", "CLIPTokenizer"],
    "force_zeros_for_empty_prompt": True,
}


def configs_of(header: Header, family: str) -> dict[str, dict[str, Any]]:
    """The configs of the models, by their parts in the pipeline, as the shapes of their tensors are.

    Raises:
        KeyError, IndexError, ValueError: the tensors are not those of the family.
    """
    configs = {}
    for part, prefix in LDM_PARTS[family].items():
        shapes = _inside(header, prefix)
        read = {"unet": _unet, "vae": _vae}.get(part)
        configs[part] = read(shapes, family) if read else _text(shapes, family, open_clips=prefix in OPEN_CLIP)
    return configs


def _inside(header: Header, prefix: str) -> dict[str, list[int]]:
    """Shapes of the tensors behind a prefix."""
    return {name.removeprefix(prefix): one["shape"] for name, one in header.items() if name.startswith(prefix)}


def _unet(shapes: Mapping[str, list[int]], family: str) -> dict[str, Any]:
    """A denoiser's config. Its way down is a row of layers; each that halves the picture ends a level."""
    levels: list[list[int]] = [[]]  # widths of the layers of each
    depths = [0]  # of their attentions
    for place in range(1, _count(shapes, "input_blocks.")):
        if f"input_blocks.{place}.0.op.weight" in shapes:
            levels.append([])
            depths.append(0)
        else:
            levels[-1].append(shapes[f"input_blocks.{place}.0.out_layers.3.weight"][0])
            if f"input_blocks.{place}.1.norm.weight" in shapes:
                depths[-1] = _count(shapes, f"input_blocks.{place}.1.transformer_blocks.")
    widths = [level[0] for level in levels]
    read = "middle_block.1.transformer_blocks.0.attn2.to_k.weight"
    config = {
        "_class_name": "UNet2DConditionModel",
        "in_channels": shapes["input_blocks.0.0.weight"][1],
        "out_channels": shapes["out.2.weight"][0],
        "sample_size": 64,
        "block_out_channels": widths,
        "layers_per_block": len(levels[0]),
        "down_block_types": ["CrossAttnDownBlock2D" if one else "DownBlock2D" for one in depths],
        "up_block_types": ["CrossAttnUpBlock2D" if one else "UpBlock2D" for one in reversed(depths)],
        "cross_attention_dim": shapes[read][1],
        "attention_head_dim": 8 if family == "sd-1" else [width // 64 for width in widths],  # the number of heads
        "use_linear_projection": len(shapes["middle_block.1.proj_in.weight"]) == 2,
    }
    if family != "sdxl":
        return config
    return config | {
        "transformer_layers_per_block": [depth or 1 for depth in depths],
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": shapes["label_emb.0.0.weight"][1],
    }


def _vae(shapes: Mapping[str, list[int]], family: str) -> dict[str, Any]:
    widths = [shapes[f"encoder.down.{at}.block.0.conv1.weight"][0] for at in range(_count(shapes, "encoder.down."))]
    return {
        "_class_name": "AutoencoderKL",
        "latent_channels": shapes["decoder.conv_in.weight"][1],
        "block_out_channels": widths,
        "layers_per_block": _count(shapes, "encoder.down.0.block."),
        "down_block_types": ["DownEncoderBlock2D"] * len(widths),
        "up_block_types": ["UpDecoderBlock2D"] * len(widths),
        "scaling_factor": 0.13025 if family == "sdxl" else 0.18215,
    }


def _text(shapes: Mapping[str, list[int]], family: str, *, open_clips: bool) -> dict[str, Any]:
    """A text encoder's config. Heads are 64 wide in all families."""
    shapes = {name.removeprefix(TEXT_MODEL): shape for name, shape in shapes.items()}
    token, first, layers = "embeddings.token_embedding.weight", "encoder.layers.0.mlp.fc1.weight", "encoder.layers."
    if open_clips:
        token, first, layers = (open_clip(name) for name in (token, first, layers))
    words, width = shapes[token]
    if words != WORDS:
        raise ValueError(f"a vocabulary of {words:,} words, expected CLIP's {WORDS:,}")
    count = _count(shapes, layers)
    pooled = {"projection_dim": shapes["text_projection"][1]} if open_clips and family == "sdxl" else {}
    return pooled | {
        "architectures": ["CLIPTextModelWithProjection" if pooled else "CLIPTextModel"],
        "model_type": "clip_text_model",
        "vocab_size": words,
        "hidden_size": width,
        "intermediate_size": shapes[first][0],
        "num_hidden_layers": count - 1 if family == "sd-2" and count == H_LAYERS else count,
        "num_attention_heads": max(1, width // 64),
        "max_position_embeddings": POSITIONS,
        "hidden_act": "gelu" if open_clips else "quick_gelu",
        "bos_token_id": WORDS - 2,
        "eos_token_id": WORDS - 1,
        "pad_token_id": 0 if open_clips else WORDS - 1,
    }


def _count(shapes: Mapping[str, list[int]], prefix: str) -> int:
    """How many numbered modules there are behind a prefix."""
    numbers = {name.removeprefix(prefix).partition(".")[0] for name in shapes if name.startswith(prefix)}
    if numbers != {*map(str, range(len(numbers)))} or not 1 <= len(numbers) <= MAX_LAYERS:
        raise ValueError(f"{prefix} is numbered {', '.join(sorted(numbers)[:3])}")
    return len(numbers)


def schedule(prediction: str, *, zero_snr: bool = False) -> dict[str, Any]:
    """The schedule of all of Stable Diffusion, drawn by DDIM, which knows no state beside it."""
    return {
        "_class_name": "DDIMScheduler",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000,
        "clip_sample": False,
        "set_alpha_to_one": False,
        "steps_offset": 1,
        "prediction_type": prediction,
        "rescale_betas_zero_snr": zero_snr,
        "timestep_spacing": "trailing" if zero_snr else "leading",
    }


def write_tokenizer(folder: Path, *, open_clips: bool) -> None:
    """CLIP's tokenizer: every byte, each also at the end of a word, what the pairs make of them, and two marks."""
    merges = gzip.decompress(CLIP_MERGES.read_bytes()).decode("utf-8").split("\n")
    letters = [chr(byte) for byte in (*range(33, 127), *range(161, 173), *range(174, 256))]
    letters += [chr(256 + place) for place in range(256 - len(letters))]
    words = [*letters, *(f"{one}</w>" for one in letters), *(pair.replace(" ", "") for pair in merges), BOS, EOS]
    write_json(folder / "vocab.json", {word: place for place, word in enumerate(words)})
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    marks = {"bos_token": BOS, "eos_token": EOS, "unk_token": EOS, "pad_token": "!" if open_clips else EOS}
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": POSITIONS, "do_lower_case": True}
    write_json(folder / "tokenizer_config.json", settings | marks)
