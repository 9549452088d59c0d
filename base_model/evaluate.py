"""The figures of a packaged base against its bars, as one JSON file, and contact sheets to look at.

Everything is measured on the packaged fp16 files, loaded as float32, as users get them. Prompts of the figures are
those that training held out (`vocabulary.held_out_prompts`); the guidance scale and the number of steps were chosen by
`sweep` on other prompts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPModel, CLIPTokenizer

from base_model.clip import retrieval
from base_model.drawings import load_drawings
from base_model.judges import NounJudge, clip_nearness, concept_separation, ranks, read_pictures, top
from base_model.package import folder_bytes
from base_model.scenes import load_scenes, noun_artworks
from base_model.sheets import contact_sheet
from base_model.stages import Workspace
from base_model.vae import psnr
from base_model.vocabulary import NOUNS, PHRASES, held_out_prompts, is_held_out, single_caption
from cns.judges.identity import IdentityEncoder

GUIDANCE = 2.0
STEPS = 15
BATCH = 16
PROMPTS = 200
SWEEP_GUIDANCE = (1.5, 2.0, 2.5, 3.0, 4.0)
SWEEP_STEPS = (10, 15, 20)
SHEET_WIDTH = 20
SHEET_SEEDS = 5
SHEET_PROMPTS = (
    "a dog on the grass", "a cat in the night sky", "an apple on a wooden table", "a glossy car on a blue background",
    "a flat fox on the beach", "a blob dog on a red background", "a noto penguin in the snow",
    "a small airplane at sunset", "a hamburger on a checkerboard", "a rocket in front of a brick wall",
    "a pizza and a guitar on a white background", "a rose and a dog in the snow",
    "a frog and an umbrella on the grass", "a car and a house at sunset",
)  # fmt: skip
BARS = {
    "vae_psnr_db": 26.0,
    "clip_r_at_1": 0.70,
    "identity_top1": 0.85,
    "identity_top5": 0.98,
    "clip_top5": 0.95,
    "seconds_per_image": 0.3,
}


@dataclass
class PackagedBase:
    """A packaged base with its judges, in float32."""

    pipeline: StableDiffusionPipeline
    clip: CLIPModel
    tokenizer: CLIPTokenizer
    identity: IdentityEncoder

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> PackagedBase:
        """Read a packaged base."""
        pipeline = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32).to(device)
        pipeline.set_progress_bar_config(disable=True)
        clip = CLIPModel.from_pretrained(folder / "clip", dtype=torch.float32).eval()
        tokenizer = CLIPTokenizer.from_pretrained(folder / "clip")
        return cls(pipeline, clip, tokenizer, IdentityEncoder.from_pretrained(folder / "identity"))

    def draw(self, prompts: Sequence[str], steps: int = STEPS, guidance: float = GUIDANCE) -> NDArray[np.uint8]:
        """One picture a prompt; the seed of a picture is its place in the list. uint8 (N, 64, 64, 3)."""
        pictures = []
        for start in range(0, len(prompts), BATCH):
            some = list(prompts[start : start + BATCH])
            seeds = [torch.Generator().manual_seed(start + offset) for offset in range(len(some))]
            drawn = self.pipeline(
                some, num_inference_steps=steps, guidance_scale=guidance, generator=seeds, output_type="np"
            )
            pictures.append((drawn.images * 255).round().astype(np.uint8))
        return np.concatenate(pictures)

    def clip_nearness(self, pictures: NDArray[np.uint8], asked: Sequence[tuple[str, str]]) -> Tensor:
        """What `judges.clip_nearness` says with this base's CLIP."""
        return clip_nearness(self.clip, self.tokenizer, pictures, asked)


def evaluate(work: Workspace, folder: Path, output: Path, examples: Path, benchmarks: Path) -> dict:
    """Measure a packaged base, write `evaluation.json` and the contact sheets into `output`, return the figures."""
    output.mkdir(parents=True, exist_ok=True)
    base = PackagedBase.load(folder, work.device)
    held_out, captions = load_scenes(work.scene_set("held_out"))
    unseen = np.concatenate([read_pictures(path) for path in sorted(examples.iterdir()) if path.is_dir()])
    found = retrieval(base.clip, base.tokenizer, held_out, captions)
    figures: dict[str, Any] = {
        "vae_psnr_db": psnr(base.pipeline.vae, held_out),
        "vae_psnr_unseen_art_db": psnr(base.pipeline.vae, unseen),
        "clip_r_at_1": found["image_to_text"],
        "clip_r_at_1_text_to_image": found["text_to_image"],
        "package_bytes": folder_bytes(folder),
    }
    figures |= noun_figures(work, base, output)
    figures |= real_scene_figures(work, base)
    figures["seconds_per_image"] = seconds_per_image(base)
    figures["concepts"] = concept_separation(base.identity, examples, benchmarks)
    report = {
        "sampler": {"guidance": GUIDANCE, "steps": STEPS, "batch": BATCH},
        "prompts": PROMPTS,
        "bars": BARS,
        "figures": figures,
    }
    (output / "evaluation.json").write_text(json.dumps(report, indent=2) + "\n")
    draw_sheet(base, output / "sheet.png")
    return report


def verdicts(report: dict) -> list[str]:
    """One line a bar: figure, bar, and whether it is reached. Times are bars from above, all else from below."""
    lines = []
    for name, bar in report["bars"].items():
        figure = report["figures"][name]
        reached = figure <= bar if name == "seconds_per_image" else figure >= bar
        lines.append(f"{'reached' if reached else 'MISSED '}  {name}  {figure:.3f}  (bar {bar})")
    return lines


def noun_figures(work: Workspace, base: PackagedBase, output: Path) -> dict[str, Any]:
    """How often the judges find the asked noun in pictures of held-out prompts; writes the pictures as a sheet."""
    asked = held_out_prompts(PROMPTS)
    pictures = base.draw([single_caption(noun, phrase) for noun, phrase in asked])
    rows = [("", list(pictures[start : start + SHEET_WIDTH])) for start in range(0, len(pictures), SHEET_WIDTH)]
    contact_sheet(rows, output / "held_out.png", scale=1)
    nearness = noun_judge(work, base).nearness(pictures)
    by_identity, by_clip = ranks(nearness, asked), ranks(base.clip_nearness(pictures, asked), asked)
    taken_for = [NOUNS[best] for best in nearness.argmax(1).tolist()]
    return {
        "identity_top1": top(by_identity, 1),
        "identity_top5": top(by_identity, 5),
        "clip_top1": top(by_clip, 1),
        "clip_top5": top(by_clip, 5),
        "missed": [
            {"prompt": single_caption(*pair), "taken_for": noun}
            for pair, noun, rank in zip(asked, taken_for, by_identity.tolist(), strict=True)
            if rank > 0
        ],
    }


def real_scene_figures(work: Workspace, base: PackagedBase) -> dict[str, float]:
    """What the judges find in *real* scenes: their own ceiling, on held-out scenes of one large object."""
    scenes, captions = load_scenes(work.scene_set("held_out"))
    plain = {single_caption(noun, phrase): (noun, phrase) for noun in NOUNS for phrase in PHRASES}
    rows = [row for row, caption in enumerate(captions) if caption in plain]
    asked, pictures = [plain[captions[row]] for row in rows], np.stack([scenes[row] for row in rows])
    by_identity = ranks(noun_judge(work, base).nearness(pictures), asked)
    by_clip = ranks(base.clip_nearness(pictures, asked), asked)
    return {
        "real_scenes": len(rows),
        "identity_top1_real": top(by_identity, 1),
        "clip_top1_real": top(by_clip, 1),
        "clip_top5_real": top(by_clip, 5),
    }


def noun_judge(work: Workspace, base: PackagedBase) -> NounJudge:
    """The identity encoder's ranking of nouns over the base's drawings."""
    return NounJudge(base.identity, noun_artworks(*load_drawings(work.drawings)))


def seconds_per_image(base: PackagedBase) -> float:
    """Wall time of one batch at the default sampler, divided by its pictures; after a warm-up step."""
    prompts = [single_caption(noun, PHRASES[0]) for noun in NOUNS[:BATCH]]
    base.draw(prompts, steps=1)
    began = time.perf_counter()
    base.draw(prompts)
    return (time.perf_counter() - began) / BATCH


def sweep(work: Workspace, folder: Path, output: Path) -> list[dict]:
    """Top-1 and top-5 by the identity encoder for some guidance scales and steps, on prompts that training knew."""
    base = PackagedBase.load(folder, work.device)
    judge = noun_judge(work, base)
    asked = [
        (noun, next(phrase for phrase in PHRASES[number % len(PHRASES) :] + PHRASES if not is_held_out(noun, phrase)))
        for number, noun in enumerate(NOUNS)
    ]
    table = []
    for steps in SWEEP_STEPS:
        for guidance in SWEEP_GUIDANCE:
            pictures = base.draw([single_caption(noun, phrase) for noun, phrase in asked], steps, guidance)
            places = ranks(judge.nearness(pictures), asked)
            table.append({"steps": steps, "guidance": guidance, "top1": top(places, 1), "top5": top(places, 5)})
            print(table[-1], flush=True)
    output.mkdir(parents=True, exist_ok=True)
    (output / "sweep.json").write_text(json.dumps(table, indent=1) + "\n")
    return table


def sweep_lines(table: list[dict]) -> list[str]:
    """The table of `sweep` as Markdown."""
    head = ["| steps | guidance | top-1 | top-5 |", "| --- | --- | --- | --- |"]
    return head + [f"| {row['steps']} | {row['guidance']} | {row['top1']:.3f} | {row['top5']:.3f} |" for row in table]


def draw_sheet(base: PackagedBase, path: Path) -> None:
    """Some prompts, several seeds each, to look at."""
    rows = [(prompt, list(base.draw([prompt] * SHEET_SEEDS))) for prompt in SHEET_PROMPTS]
    contact_sheet(rows, path, scale=1)
