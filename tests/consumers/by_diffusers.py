"""Read a folder of exports as diffusers, transformers and PEFT do, whichever are installed; print what is seen as JSON.

`__main__.py` starts it in surroundings of its own. It knows files alone: nothing of cns is imported.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import peft
import torch
import transformers
from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file

from tests.consumers import GUIDANCE, SEED, STEPS

PROMPT = "a <rex> dog beside a <tom> cat"


def main(folder: Path) -> None:
    """Try each format, one after the other: what fails says how."""
    base, seen = folder / "base", {}

    def plain() -> Any:
        return StableDiffusionPipeline.from_pretrained(base, safety_checker=None)

    def network(kind: str, expected: str) -> str:
        pipeline = plain()
        file = next((folder / kind).glob("*.safetensors"))
        pipeline.load_lora_weights(str(file.parent), weight_name=file.name)
        pipeline.fuse_lora()
        pipeline.unload_lora_weights()
        found = weights(pipeline.unet, load_file(folder / f"{expected}.safetensors"), plain().unet.state_dict())
        said = json.loads((folder / "said.json").read_text()).get(kind)
        return f"{found}, as cns said ({said:.1e})" if said else found

    def whole() -> str:
        pipeline = StableDiffusionPipeline.from_pretrained(folder / "diffusers", safety_checker=None)
        return f"{weights(pipeline.unet, load_file(folder / 'all.safetensors'))}, {picture(pipeline, folder)}"

    def checkpoint() -> str:
        file = next((folder / "checkpoint").glob("*.safetensors"))
        pipeline = StableDiffusionPipeline.from_single_file(str(file), config=str(base), safety_checker=None)
        for word in ("rex", "tom"):
            pipeline.load_textual_inversion(str(folder / "embedding" / f"{word}.safetensors"), token=f"<{word}>")
        return f"{weights(pipeline.unet, load_file(folder / 'all.safetensors'))}, {picture(pipeline, folder)}"

    tries: dict[str, Callable[[], str]] = {
        "diffusers": whole,
        "checkpoint and embedding": checkpoint,
        "lora, along directions": lambda: network("lora-rex", "rex"),
        "lora, of a mask, rank 8": lambda: network("lora", "all"),
        "lycoris": lambda: network("lycoris", "all"),
    }
    for kind, attempt in tries.items():
        try:
            seen[kind] = attempt()
        except (ValueError, KeyError, TypeError, RuntimeError, IndexError) as error:
            seen[kind] = f"refused ({type(error).__name__})"
    versions = {one.__name__: one.__version__ for one in (diffusers, transformers, peft)}
    sys.stdout.write(json.dumps({"versions": versions, "seen": seen}) + "\n")


def weights(unet: Any, expected: dict[str, torch.Tensor], base: dict[str, torch.Tensor] | None = None) -> str:
    """How far the key and value matrices are off; with a base, as a share of the change."""
    found = unet.state_dict()
    if all(torch.equal(found[name], one) for name, one in expected.items()):
        return "weights bit for bit"
    start = base or dict.fromkeys(expected, torch.zeros(()))
    wrong = sum(float((found[name].double() - one.double()).square().sum()) for name, one in expected.items())
    change = sum(float((one.double() - start[name].double()).square().sum()) for name, one in expected.items())
    return f"change off by {(wrong / change) ** 0.5:.1e}"


def picture(pipeline: Any, folder: Path) -> str:
    """How far a picture is off ours."""
    pipeline.set_progress_bar_config(disable=True)
    generator = [torch.Generator().manual_seed(SEED)]
    drawn = pipeline([PROMPT], num_inference_steps=STEPS, guidance_scale=GUIDANCE, generator=generator).images[0]
    ours = np.asarray(Image.open(folder / "ours.png").convert("RGB"))
    apart = np.abs(np.asarray(drawn).astype(int) - ours)
    return "picture equal" if not apart.any() else f"picture {apart.max()} of 255 off in {(apart > 0).mean():.1e} of it"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
