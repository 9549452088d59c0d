"""Read a folder of exports as stable-diffusion.cpp does; print what is seen as JSON."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from stable_diffusion_cpp import StableDiffusion, sd_embedding_t

from tests.consumers import GUIDANCE, SEED, STEPS

PROMPT, SIZE = "a rex dog", 64


class Drawing(StableDiffusion):
    """A model with the vectors of tokens, of which version 0.4.7 reads a list that it does not set."""

    def __init__(self, vectors: Path, **settings: Any) -> None:
        self._embedding_items = [sd_embedding_t(name=vectors.stem.encode(), path=str(vectors).encode())]
        super().__init__(embedding_paths=[str(vectors)], **settings)


def main(folder: Path) -> None:
    """Draw with each format, by the sampler and the noise of our picture."""
    vectors = folder / "sdcpp" / "embeddings" / "rex.safetensors"
    base, whole = (next((folder / kind).glob("*.safetensors")) for kind in ("base", "checkpoint"))
    ours, half = (pixels(Image.open(folder / f"{name}.png")) for name in ("ours", "half"))

    def network(loras: Path) -> str:
        one, less = (draw(base, vectors, f"<lora:rex:{strength}> {PROMPT}", loras) for strength in (1, 0.5))
        return f"picture {off(one, ours)}, at half strength {off(less, half)}"

    seen = {
        "checkpoint and embedding": f"picture {off(draw(whole, vectors, PROMPT), ours)}; "
        f"that of the base {off(draw(base, vectors, PROMPT), ours)}",
        "lora, along directions": network(folder / "sdcpp" / "loras"),
        "lycoris": network(folder / "lycoris"),
    }
    versions = {"stable-diffusion-cpp-python": version("stable-diffusion-cpp-python")}
    sys.stdout.write("\n" + json.dumps({"versions": versions, "seen": seen}) + "\n")


def draw(model: Path, vectors: Path, prompt: str, loras: Path | None = None) -> NDArray[np.int64]:
    """The picture, (SIZE, SIZE, 3)."""
    drawing = Drawing(
        vectors,
        model_path=str(model),
        lora_model_dir=str(loras or ""),
        rng_type="cpu",
        vae_decode_only=True,  # it takes encoders of one width alone
        verbose=False,
    )
    images = drawing.generate_image(
        prompt,
        width=SIZE,
        height=SIZE,
        cfg_scale=GUIDANCE,
        sample_method="euler",
        scheduler="discrete",
        sample_steps=STEPS,
        seed=SEED,
    )
    return pixels(images[0])


def off(found: NDArray[np.int64], expected: NDArray[np.int64]) -> str:
    """By how much two pictures differ."""
    return f"{np.abs(found - expected).max()} of 255 off"


def pixels(picture: Image.Image) -> NDArray[np.int64]:
    """Its values, 0 to 255."""
    return np.asarray(picture.convert("RGB")).astype(np.int64)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
