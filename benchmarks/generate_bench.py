"""Generation: `cns generate` against plain diffusers on the exported folder, image for image and time for time.

And composition by name against all concepts in one set of weights: the same prompt of three concepts, in turns.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import shell
from benchmarks.report import Report, Table
from tests.golden import unpack

ROOT = Path(__file__).resolve().parent.parent
PROMPT = "a <rex> dog on the beach"
THREE = "a <rex> dog, a <tom> cat and a <pip> penguin on the grass"  # of the golden registry, which has five
WAYS = ("all", "named")
RATIO_BAR = 1.05
NAMED_BAR = 1.03
IMAGE_BAR_S = 0.3

NOTE = "Processor time, but for an image's. Ratios are of runs in turns, whichever first: median, least and largest."

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
    ours = f'cns generate "{PROMPT}" -n {count} --seed 0 --compose all -o ours.png'
    three = f'cns generate "{THREE}" -n {count} --seed 0 --at clean --compose named -o three.png'
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
            ours_s.append(shell.cns(ours, folder).cpu_s)
            done = shell.program(plain, folder)
            if done.code:
                raise SystemExit(done.stderr)
            plain_s.append(done.cpu_s)
        equal = _equal_images(
            [folder / f"ours-{i + 1}.png" for i in range(count)], [folder / f"plain-{i}.png" for i in range(count)]
        )
        batch_s = _batch_s(folder / "exported", 16)
        golden = unpack(folder / "golden")
        processes = _ratios(lambda way: shell.cns(three.replace("named", way), golden).cpu_s, 2 * repeats)
        drawings = _ratios(_drawing(golden, count), 2 * repeats)
    ratio = statistics.median(ours_s) / statistics.median(plain_s)
    rows = [
        ("images equal to plain diffusers' on the exported folder", f"{equal} of {count}", "all"),
        (f"`cns generate`, {count} images, whole process", f"{statistics.median(ours_s):.2f} s", ""),
        ("plain diffusers, the same", f"{statistics.median(plain_s):.2f} s", ""),
        ("ratio", f"{ratio:.3f}", f"{RATIO_BAR}"),
        ("an image, in one batch of 16, model loaded", f"{batch_s / 16:.3f} s", f"{IMAGE_BAR_S} s"),
        ("three concepts by name / all composed, whole process", _spread(processes), f"{NAMED_BAR}"),
        ("the same, model loaded", _spread(drawings), f"{NAMED_BAR}"),
        ("keys and values of an image by name, Stable Diffusion 1.5 in float16", f"{handed_bytes(2) / 1e6:.1f} MB", ""),
    ]
    figures = {"equal images": equal, "images": count, "ratio": ratio, "image s": batch_s / 16}
    figures |= {"named ratio": statistics.median(processes), "named ratio, loaded": statistics.median(drawings)}
    table = Table("Generation", ["what", "measured", "bar"], rows, NOTE)
    return Report("generate", [table], [*commands, ours, three], figures)


def handed_bytes(bytes_a_number: int) -> int:
    """Bytes of the keys and values of an image under guidance, at Stable Diffusion 1.5's shapes; nothing is loaded."""
    import torch
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):  # diffusers' own defaults are its shapes but for the width of the text features
        unet = UNet2DConditionModel(cross_attention_dim=768)
    outputs = sum(
        len(weight) for name, weight in unet.named_parameters() if "attn2.to_k" in name or "attn2.to_v" in name
    )
    return 2 * 77 * outputs * bytes_a_number


def _ratios(seconds: Callable[[str], float], turns: int) -> list[float]:
    """Time of composition by name over that of all composed, turn by turn; which comes first alternates."""
    ratios = []
    for turn in range(turns):
        taken = {way: seconds(way) for way in (WAYS if turn % 2 else reversed(WAYS))}
        ratios.append(taken["named"] / taken["all"])
    return ratios


def _drawing(registry: Path, count: int) -> Callable[[str], float]:
    """What a request for pictures takes once the model is loaded: seconds, by the way of composing."""
    from cns_cli.porcelain.models.session import Session
    from registry.repository import Repository
    from registry.trees import composing

    session = Session.open(Repository(registry), "cpu")
    tree = session.repo.tree_of(session.repo.resolve("clean"))

    def seconds(way: Any) -> float:
        started = time.process_time()
        session.write(composing(tree, way))
        session.base.images([THREE] * count, range(count))
        return time.process_time() - started

    seconds("named")  # the first call of a process pays for what later ones find
    return seconds


def _spread(ratios: Sequence[float]) -> str:
    """Median, least and largest."""
    return f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"


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
