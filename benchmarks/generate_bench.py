"""Generation: `cns generate` against plain diffusers on the exported folder, image for image and second for second."""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import shell
from benchmarks.report import Report, Table

ROOT = Path(__file__).resolve().parent.parent
PROMPT = "a <rex> dog on the beach"
RATIO_BAR = 1.05
IMAGE_BAR_S = 0.3

# What somebody without cns writes. The arguments: exported folder, prompt, images, seed, steps, guidance, file.
PLAIN = """
import sys, torch
from diffusers import StableDiffusionPipeline
folder, prompt, n, seed, steps, guidance, out = sys.argv[1:]
pipeline = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
pipeline.set_progress_bar_config(disable=True)
generators = [torch.Generator().manual_seed(int(seed) + i) for i in range(int(n))]
images = pipeline([prompt] * int(n), num_inference_steps=int(steps), guidance_scale=float(guidance),
                  generator=generators).images
for i, image in enumerate(images):
    image.save(out.replace("%", str(i)))
"""


def run(quick: bool) -> Report:
    """Learn one concept, export it, and time both ways in fresh processes, alternating."""
    count, repeats = (4, 1) if quick else (16, 5)
    commands = [
        f"cns add rex dog --class dog{' --steps 10' if quick else ''}",
        "cns export --format diffusers exported",
    ]
    ours = f'cns generate "{PROMPT}" -n {count} --seed 0 -o ours.png'
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(ROOT / "examples" / "concepts" / "dog", folder / "dog")
        for line in commands:
            shell.cns(line, folder)
        steps, guidance = _defaults()
        plain = [
            sys.executable,
            "-c",
            PLAIN,
            "exported",
            PROMPT,
            str(count),
            "0",
            str(steps),
            str(guidance),
            "plain-%.png",
        ]
        ours_s, plain_s = [], []
        for _ in range(repeats):
            ours_s.append(shell.cns(ours, folder).elapsed_s)
            done = shell.program(plain, folder)
            if done.code:
                raise SystemExit(done.stderr)
            plain_s.append(done.elapsed_s)
        equal = _equal_images(
            [folder / f"ours-{i + 1}.png" for i in range(count)], [folder / f"plain-{i}.png" for i in range(count)]
        )
        batch_s = _batch_s(folder / "exported", 16)
    ratio = statistics.median(ours_s) / statistics.median(plain_s)
    rows = [
        ("images equal to plain diffusers' on the exported folder", f"{equal} of {count}", "all"),
        (f"`cns generate`, {count} images, whole process", f"{statistics.median(ours_s):.2f} s", ""),
        ("plain diffusers, the same", f"{statistics.median(plain_s):.2f} s", ""),
        ("ratio", f"{ratio:.3f}", f"{RATIO_BAR}"),
        ("an image, in one batch of 16, model loaded", f"{batch_s / 16:.3f} s", f"{IMAGE_BAR_S} s"),
    ]
    figures = {"equal images": equal, "images": count, "ratio": ratio, "image s": batch_s / 16}
    return Report("generate", [Table("Generation", ["what", "measured", "bar"], rows)], [*commands, ours], figures)


def _defaults() -> tuple[int, float]:
    from cns.families import FAMILIES

    defaults = FAMILIES["emoji-64"].defaults
    return defaults.sampler_steps, defaults.guidance


def _equal_images(ours: list[Path], plain: list[Path]) -> int:
    """Count the pictures that are equal pixel for pixel."""
    from PIL import Image, ImageChops

    def same(one: Path, other: Path) -> bool:
        with Image.open(one) as a, Image.open(other) as b:
            return a.size == b.size and ImageChops.difference(a.convert("RGB"), b.convert("RGB")).getbbox() is None

    return sum(same(one, other) for one, other in zip(ours, plain, strict=True))


def _batch_s(exported: Path, count: int) -> float:
    """Seconds for one batch at the default sampler, the model loaded and warm."""
    import torch
    from diffusers import StableDiffusionPipeline

    steps, guidance = _defaults()
    pipeline = StableDiffusionPipeline.from_pretrained(exported, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    times_s = []
    for _ in range(3):
        started = time.perf_counter()
        pipeline([PROMPT] * count, num_inference_steps=steps, guidance_scale=guidance)
        times_s.append(time.perf_counter() - started)
    return min(times_s)
