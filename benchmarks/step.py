"""One training step at Stable Diffusion 1.5's shapes, 512 pixels, two images: memory, and what the method adds to it.

Each way runs in a process of its own, on the CPU, over the same files: `cns add`'s training in either number format,
and the loop of diffusers' `train_custom_diffusion.py` without its prior images: all in float32, keys, values and token
trained, AdamW over them and over the whole table of embeddings, activations kept. Judges are not loaded: the
memory is that of the trainings.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import DDPMScheduler
from torch.nn.functional import mse_loss

from benchmarks import real_shapes, shell
from benchmarks.report import Report, Table
from cns import grid, training
from cns.compose import Model, kv_parameters
from cns.drift import prompt_moments
from cns.families import SD_1
from cns.flat import Flat
from cns.loading import load_pipeline
from cns.quiet import quiet_libraries
from cns.regularizers import History, regularizer_named
from cns.task import Settings, TrainingConstraints, TrainingTask

with quiet_libraries():
    from diffusers import StableDiffusionPipeline

PIXELS, IMAGES = 512, 2
PROMPTS = ("a <rex> dog", "a <rex> dog on the grass")
GENERAL = ("a cat", "a red car on a street", "")
GRID_BITS = 11
MEMORY_BAR, SHARE_BAR = 0.7, 0.03
WAYS = {"diffusers": "diffusers' loop, float32", "float32": "`cns add`, float32", "bfloat16": "`cns add`, bfloat16"}
NOTE = (
    "Peak resident memory of a fresh process; one step of the token alone and one of everything, of 2 images of 512 "
    "pixels, on the CPU; activations are kept. *The method's own*: penalty with its gradient, gathering, AdamW, "
    "scattering, as a share of the step's processor time."
)


def run(quick: bool) -> Report:
    """Write the base, then run each way once; `quick` takes small images."""
    with tempfile.TemporaryDirectory() as name:
        folder = real_shapes.write(Path(name) / "base")
        found = {way: _ran(way, folder, 64 if quick else PIXELS) for way in WAYS}
    return report(found)


def report(found: dict[str, dict[str, float]]) -> Report:
    """The table of what `_ran` gave."""
    peer = found["diffusers"]["peak"]
    rows = [
        (
            WAYS[way],
            f"{one['peak'] / 2**30:.2f} GiB",
            f"{one['peak'] / peer:.2f}",
            f"{one['step']:.0f} s",
            f"{one['own'] / one['step']:.1%}" if "own" in one else "",
        )
        for way, one in found.items()
    ]
    rows.append(("bar", "", str(MEMORY_BAR), "", f"{SHARE_BAR:.0%}"))
    table = Table("A training step", ["what", "peak memory", "ratio", "processor time", "the method's own"], rows, NOTE)
    figures = {f"{way} {what}": value for way, one in found.items() for what, value in one.items()}
    return Report("step", [table], ["python -m benchmarks step"], figures)


def _ran(way: str, folder: Path, pixels: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.step", way, str(folder), str(pixels)]
    done = shell.program(command, Path(__file__).resolve().parent.parent)
    if done.code:
        raise SystemExit(done.stderr)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _peer(folder: Path, pixels: int) -> dict[str, float]:
    """A step of diffusers' loop, on what diffusers itself loads."""
    with quiet_libraries():
        pipeline = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        part.requires_grad_(False)
    pipeline.tokenizer.add_tokens("<rex>")
    table = pipeline.text_encoder.get_input_embeddings().weight.requires_grad_(True)
    trained = [one.requires_grad_(True) for one in kv_parameters(pipeline).values()]
    optimizer = torch.optim.AdamW([table, *trained], lr=1e-5)
    schedule = DDPMScheduler.from_config(pipeline.scheduler.config)
    began = time.process_time()
    images = torch.rand((IMAGES, 3, pixels, pixels)) * 2 - 1
    with torch.no_grad():
        latents = pipeline.vae.encode(images).latent_dist.sample() * pipeline.vae.config.scaling_factor
    noise, steps = torch.randn_like(latents), torch.randint(0, 1000, (IMAGES,))
    ids = pipeline.tokenizer(
        list(PROMPTS), padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    ).input_ids
    noisy = schedule.add_noise(latents, noise, steps)
    loss = mse_loss(pipeline.unet(noisy, steps, pipeline.text_encoder(ids)[0]).sample, noise)
    loss.backward()
    own = torch.arange(len(table)) != pipeline.tokenizer.convert_tokens_to_ids("<rex>")
    assert table.grad is not None
    table.grad[own] = 0
    torch.nn.utils.clip_grad_norm_([table, *trained], 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return {"step": time.process_time() - began}


def _ours(folder: Path, pixels: int, dtype: str) -> dict[str, float]:
    """A training of one step, and then what the method adds to a step, alone."""
    setattr(training, "validation_steps", lambda _: ())  # noqa: B010  what watches a training is not its step
    model = _model(folder, dtype)
    defaults = SD_1.defaults.shared() | {"steps": 1, "warmup_steps": 1, "batch_size": IMAGES}
    budget = SD_1.defaults.budget(model.kv_size, model.denoiser_size)
    settings = Settings(**defaults, budget=budget, seed=0, directions=SD_1.directions, dtype=dtype)
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, pixels, pixels, 3), np.uint8)
    task = TrainingTask("rex", "dog", "<rex>", images, [[one] for one in PROMPTS])
    constraints = TrainingConstraints([], prompt_moments(model.pipeline, list(GENERAL)), _masks(model, 0.0))
    times = [time.process_time()]
    training.learn_concept(
        model, model.base, task, constraints, settings, lambda *_, **__: times.append(time.process_time())
    )
    peak = _peak()
    return {"step": times[-1] - times[-2], "peak": peak, "own": _own(model, settings, constraints)}


def _model(folder: Path, dtype: str) -> Model:
    pipeline = load_pipeline(folder, dtype=getattr(torch, dtype))
    bits = {name: grid.exponent(one.detach().numpy(), GRID_BITS) for name, one in kv_parameters(pipeline).items()}
    return Model(pipeline, bits)


def _own(model: Model, settings: Settings, constraints: TrainingConstraints) -> float:
    """Processor seconds of penalty, gathering, optimizer and scattering, once more than needed to be warm."""
    live = kv_parameters(model.pipeline)
    masks = _masks(model, settings.budget / model.kv_size)
    history = History(model.base, model.base, masks, [], constraints.calibration)
    ties = regularizer_named(settings.reg)(history, settings.reg_strength, settings.anchor_strength)
    flat = Flat(live, masks)
    optimizer = torch.optim.AdamW([flat.values], lr=1e-5, weight_decay=0.0)
    for one in live.values():
        one.requires_grad_(True)
    taken = 0.0
    for _ in range(2):
        began = time.process_time()
        slopes = torch.autograd.grad(ties(live), list(live.values()))
        flat.gather(slopes)
        optimizer.step()
        flat.scatter()
        taken = time.process_time() - began
    return taken


def _masks(model: Model, share: float) -> dict[str, torch.Tensor]:
    """Random masks that hold about this share of each matrix."""
    return {name: torch.rand_like(one) < share for name, one in model.base.items()}


def _peak() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    """Run one way and print what it took, as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("pixels", type=int)
    given = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    way: str = given.way
    found = _peer(given.folder, given.pixels) if way == "diffusers" else _ours(given.folder, given.pixels, way)
    print(json.dumps({"peak": _peak(), **found}))


if __name__ == "__main__":
    main()
