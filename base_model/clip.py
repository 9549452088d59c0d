"""The CLIP: names pictures, judges them (CLIP-I, CLIP-T), and lends its text tower to the base as a start.

Contrastive over batches of scenes. Scenes of one caption count as each other's partners, else the 62 nouns would
punish what is right.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel, CLIPTextModel, CLIPTokenizer

from base_model.tokenizer import POSITIONS
from base_model.training import Schedule, Training, autocast, matrix_optimizers

WIDTH = 192
PROJECTION = 128
BATCH = 128
PEAK_LR = 1e-3
MAX_LOG_SCALE = 4.6  # a temperature of 0.01, CLIP's own bound
IMAGE_MEAN, IMAGE_STD = (0.48, 0.45, 0.40), (0.27, 0.26, 0.27)


def new_clip(tokenizer: CLIPTokenizer) -> CLIPModel:
    """An untrained CLIP: text 4 x 192, vision 6 x 192 with patches of 8 px, 5.0 M parameters."""
    text = {
        "vocab_size": len(tokenizer), "hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_hidden_layers": 4,
        "num_attention_heads": 4, "max_position_embeddings": POSITIONS, "projection_dim": PROJECTION,
        "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }  # fmt: skip
    vision = {
        "hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_hidden_layers": 6, "num_attention_heads": 4,
        "image_size": 64, "patch_size": 8, "projection_dim": PROJECTION,
    }  # fmt: skip
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=PROJECTION))


def train_clip(
    clip: CLIPModel,
    tokenizer: CLIPTokenizer,
    scenes: NDArray[np.uint8],
    captions: Sequence[str],
    minutes: float,
    folder: Path,
    device: torch.device,
    seed: int = 2,
) -> None:
    """Train a CLIP in place and write it, tokenizer included, in float32 as `folder`/model.

    Args:
        clip: A new or an earlier one.
        tokenizer: Its tokenizer.
        scenes: uint8 (N, 64, 64, 3).
        captions: N captions.
        minutes: Time budget.
        folder: Keeps the checkpoint and the result.
        device: Where to train.
        seed: Of the batches.
    """
    use_plain_attention(clip)
    ids = token_ids(tokenizer, captions)
    optimizers = matrix_optimizers([(clip, PEAK_LR)], excluded=lambda name: "embedding" in name, weight_decay=0.05)
    training = Training(
        nn.ModuleDict({"clip": clip}).to(device), optimizers, Schedule(50, 0.1), minutes, folder / "checkpoint.pt",
        seed, ema_decay=0.99,
    )  # fmt: skip

    def loss_of(generator: Generator) -> Tensor:
        chosen = torch.randint(0, len(scenes), (BATCH,), generator=generator)
        clip.logit_scale.data.clamp_(0, MAX_LOG_SCALE)
        return contrastive_loss(clip, ids[chosen].to(device), pixel_values(scenes[chosen.numpy()]).to(device))

    trained = training.run(loss_of, log=lambda line: print("clip", line, flush=True))["clip"]
    trained.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    write_preprocessor(folder / "model")


def use_plain_attention(model: CLIPModel | CLIPTextModel) -> None:
    """Attend by matrix products: at these sizes the fused attention's backward is twice as slow on a CPU."""
    model.set_attn_implementation("eager")


def contrastive_loss(clip: CLIPModel, ids: Tensor, pixels: Tensor) -> Tensor:
    """Symmetric cross entropy; equal captions share the target.

    Args:
        clip: The model.
        ids: Token ids, shape (B, 32), padded with the end token.
        pixels: Normalised, shape (B, 3, 64, 64).
    """
    same = (ids[:, None] == ids[None]).all(-1).float()
    target = same / same.sum(1, keepdim=True)
    # The text tower is causal and pools at the first end token: what comes after the longest caption is waste.
    longest = int((ids != clip.config.text_config.eos_token_id).sum(1).max()) + 1
    with autocast(pixels.device):
        logits = clip(input_ids=ids[:, :longest], pixel_values=pixels).logits_per_image
    logits = logits.float()
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


@torch.no_grad()
def image_features(clip: CLIPModel, scenes: NDArray[np.uint8], batch: int = 250) -> Tensor:
    """Unit vectors of uint8 pictures (N, 64, 64, 3): float32 (N, 128) on the CPU."""
    features = [
        clip.get_image_features(pixel_values=pixel_values(scenes[start : start + batch]).to(clip.device)).pooler_output
        for start in range(0, len(scenes), batch)
    ]
    return F.normalize(torch.cat(features).float().cpu(), dim=-1)


@torch.no_grad()
def text_features(clip: CLIPModel, tokenizer: CLIPTokenizer, texts: Sequence[str]) -> Tensor:
    """Unit vectors of texts: float32 (N, 128) on the CPU."""
    features = clip.get_text_features(input_ids=token_ids(tokenizer, texts).to(clip.device)).pooler_output
    return F.normalize(features.float().cpu(), dim=-1)


def retrieval(
    clip: CLIPModel, tokenizer: CLIPTokenizer, scenes: NDArray[np.uint8], captions: Sequence[str]
) -> dict[str, float]:
    """R@1 among N scenes of N distinct captions: the own caption for each picture, and the own picture for each."""
    similarity = image_features(clip, scenes) @ text_features(clip, tokenizer, captions).T
    own = torch.arange(len(captions))
    return {
        "image_to_text": (similarity.argmax(1) == own).float().mean().item(),
        "text_to_image": (similarity.argmax(0) == own).float().mean().item(),
    }


def text_tower(clip: CLIPModel) -> CLIPTextModel:
    """A copy of the CLIP's text tower, the base's text encoder before its own training."""
    tower = CLIPTextModel(clip.config.text_config)
    own = tower.state_dict()
    # The class names its parameters with or without this prefix, depending on the version of transformers.
    weights = {name: clip.state_dict()["text_model." + name.removeprefix("text_model.")] for name in own}
    tower.load_state_dict(weights)
    return tower


def token_ids(tokenizer: CLIPTokenizer, texts: Sequence[str]) -> Tensor:
    """int64 (N, 32), padded as the pipeline pads its prompts."""
    return tokenizer(
        list(texts), padding="max_length", max_length=POSITIONS, truncation=True, return_tensors="pt"
    ).input_ids


def pixel_values(scenes: NDArray[np.uint8]) -> Tensor:
    """uint8 (B, 64, 64, 3) to normalised float32 (B, 3, 64, 64)."""
    images = torch.from_numpy(np.array(scenes)).permute(0, 3, 1, 2).float() / 255
    return (images - torch.tensor(IMAGE_MEAN).view(3, 1, 1)) / torch.tensor(IMAGE_STD).view(3, 1, 1)


def write_preprocessor(folder: Path) -> None:
    """Write `preprocessor_config.json`, in the format of CLIPImageProcessor."""
    config = {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True, "size": {"shortest_edge": 64}, "resample": 3,
        "do_center_crop": True, "crop_size": {"height": 64, "width": 64},
        "do_rescale": True, "rescale_factor": 1 / 255,
        "do_normalize": True, "image_mean": IMAGE_MEAN, "image_std": IMAGE_STD,
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(config, indent=2) + "\n")
