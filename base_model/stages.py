"""The stages of the recipe up to the trained weights: what each reads and writes in the work folder.

A stage that has its result is not run again; delete the result to repeat it. A training that was cut short resumes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from numpy.typing import NDArray
from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer

from base_model import clip, identity, sources, tokenizer, unet, vae
from base_model.drawings import load_drawings, render_drawings
from base_model.scenes import Scene, all_artworks, load_scenes, noun_artworks, save_scenes, scene_arrays, scenes
from base_model.vocabulary import NOUN_OF_LABEL
from cns.judges.identity import IdentityEncoder

EVERY_GROUP = frozenset(range(10))
NOUN_SCENES = 36_864
OBJECT_SCENES = 9_216
VARIED_SCENES = 12_288
HELD_OUT_SCENES = 500
VAE_NOUN_SCENES = 8_192
SEEDS = {"nouns": 20, "objects": 21, "varied": 22, "held_out": 23}


@dataclass(frozen=True)
class Workspace:
    """Folders of one run.

    Attributes:
        root: Keeps everything that the stages write.
        device: Where to train.
        warm_start: A packaged base whose weights the trainings start from; None starts from random ones.
    """

    root: Path
    device: torch.device
    warm_start: Path | None = None

    @property
    def packages(self) -> Path:
        """The archives of npm."""
        return self.root / "npm"

    @property
    def drawings(self) -> Path:
        """The rendered drawings."""
        return self.root / "drawings"

    def scene_set(self, name: str) -> Path:
        """Path of a scene set, without its ending."""
        return self.root / "scenes" / name

    def stage(self, name: str) -> Path:
        """Folder of a training."""
        return self.root / name


def run_fetch(work: Workspace) -> None:
    """Bring and check the packages."""
    sources.fetch(work.packages)


def run_render(work: Workspace) -> None:
    """Render the drawings."""
    if not (work.drawings / "drawings.json").exists():
        render_drawings(work.packages, work.drawings)


def run_scenes(work: Workspace) -> None:
    """Compose the three training sets and the one that measures."""
    pixels, labels = load_drawings(work.drawings)
    nouns, objects = noun_artworks(pixels, labels), all_artworks(pixels, labels)
    varied = all_artworks(pixels, labels, EVERY_GROUP)
    for name, artworks, count in (
        ("nouns", nouns, NOUN_SCENES), ("objects", objects, OBJECT_SCENES), ("varied", varied, VARIED_SCENES),
    ):  # fmt: skip
        if not work.scene_set(name).with_suffix(".json").exists():
            produced = scenes(artworks, count, SEEDS[name], training=True)
            save_scenes(work.scene_set(name), *scene_arrays(produced, count))
    produced = _distinct(scenes(nouns, 10 * HELD_OUT_SCENES, SEEDS["held_out"], training=False))
    save_scenes(work.scene_set("held_out"), *scene_arrays(islice(produced, HELD_OUT_SCENES), HELD_OUT_SCENES))


def run_vae(work: Workspace, minutes: float) -> None:
    """Train the VAE."""
    folder = work.stage("vae")
    if (folder / "model").exists():
        return
    start = _warm(work, "vae")
    model = vae.new_vae() if start is None else AutoencoderKL.from_pretrained(start, torch_dtype=torch.float32)
    nouns, _ = load_scenes(work.scene_set("nouns"))
    varied, _ = load_scenes(work.scene_set("varied"))
    vae.train_vae(model, np.concatenate([nouns[:VAE_NOUN_SCENES], varied]), minutes, folder, work.device)
    record_training(work, "vae", minutes, warm=start is not None)


def run_identity(work: Workspace, minutes: float) -> None:
    """Train the identity encoder; always from nothing: a warm one may have seen the artists that it must judge."""
    folder = work.stage("identity")
    if not (folder / "model").exists():
        torch.manual_seed(1)
        drawings, labels = load_drawings(work.drawings)
        nouns = [index for index, label in enumerate(labels) if label.label in NOUN_OF_LABEL]
        identity.train_identity(IdentityEncoder(), drawings, nouns, minutes, folder, work.device)
        record_training(work, "identity", minutes, warm=False)


def run_clip(work: Workspace, minutes: float) -> None:
    """Learn the tokenizer and train the CLIP."""
    folder = work.stage("clip")
    if (folder / "model").exists():
        return
    pixels, captions = _clip_scenes(work)
    start = _warm(work, "clip")
    if start is None:
        _, labels = load_drawings(work.drawings)
        words = tokenizer.train_tokenizer(
            [*captions, *(" ".join(label.tags) for label in labels)], folder / "tokenizer"
        )
        torch.manual_seed(2)
        model = clip.new_clip(words)
    else:
        words = tokenizer.with_symbols(CLIPTokenizer.from_pretrained(start), folder / "tokenizer")
        model = CLIPModel.from_pretrained(start, dtype=torch.float32)
    clip.train_clip(model, words, pixels, captions, minutes, folder, work.device)
    record_training(work, "clip", minutes, warm=start is not None)


def run_unet(work: Workspace, minutes: float, peak_lr: float = unet.PEAK_LR, decay_from: float = 0.5) -> None:
    """Encode the scenes of the nouns and train the denoiser with the text encoder."""
    folder = work.stage("unet")
    if (folder / "unet").exists():
        return
    words = load_tokenizer(work)
    start = _warm(work, "unet")
    torch.manual_seed(3)
    if start is None:
        denoiser = unet.new_unet()
        text = clip.text_tower(CLIPModel.from_pretrained(work.stage("clip") / "model", dtype=torch.float32))
    else:
        denoiser = UNet2DConditionModel.from_pretrained(start, torch_dtype=torch.float32)
        text = CLIPTextModel.from_pretrained(start.parent / "text_encoder", dtype=torch.float32)
    _, captions = load_scenes(work.scene_set("nouns"))
    unet.train_unet(
        denoiser, text, words, _latents(work), captions, minutes, folder, work.device,
        peak_lr=peak_lr, decay_from=decay_from,
    )  # fmt: skip
    record_training(work, "unet", minutes, warm=start is not None)


def record_training(work: Workspace, name: str, minutes: float, *, warm: bool) -> None:
    """Keep, for the model card, how a stage was trained: `record.json` in its folder."""
    folder = work.stage(name)
    steps = torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)["step"]
    record = {"stage": name, "start": "earlier weights" if warm else "nothing", "steps": steps, "minutes": minutes}
    (folder / "record.json").write_text(json.dumps(record) + "\n")


def load_tokenizer(work: Workspace) -> CLIPTokenizer:
    """The tokenizer that the CLIP stage wrote before it began to train."""
    return CLIPTokenizer.from_pretrained(work.stage("clip") / "tokenizer")


def _latents(work: Workspace) -> torch.Tensor:
    """float32 (N, 4, 16, 16), scaled; encoded once and kept."""
    path = work.stage("unet") / "latents.pt"
    if not path.exists():
        encoder = AutoencoderKL.from_pretrained(work.stage("vae") / "model").to(work.device).eval()
        nouns, _ = load_scenes(work.scene_set("nouns"))
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(vae.encode(encoder, nouns) * encoder.config.scaling_factor, path)
    return torch.load(path, weights_only=True)


def _clip_scenes(work: Workspace) -> tuple[NDArray[np.uint8], list[str]]:
    """Scenes of the nouns and, for words beyond them, of every object."""
    nouns, noun_captions = load_scenes(work.scene_set("nouns"))
    objects, object_captions = load_scenes(work.scene_set("objects"))
    return np.concatenate([nouns, objects]), [*noun_captions, *object_captions]


def _warm(work: Workspace, component: str) -> Path | None:
    return None if work.warm_start is None else work.warm_start / component


def _distinct(produced: Iterator[Scene]) -> Iterator[Scene]:
    """Scenes whose captions did not come before."""
    seen: set[str] = set()
    for scene in produced:
        if scene.caption not in seen:
            seen.add(scene.caption)
            yield scene
