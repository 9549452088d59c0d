"""Read a folder of exports as lycoris-lora does; print what is seen as JSON.

By `create_lycoris_from_weights`. The other way, `create_network_from_weights` of kohya's trainer, refuses a UNet of
diffusers: before it reads the file it makes a network of all modules, of which it finds some twice.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

from diffusers import UNet2DConditionModel
from lycoris import LycorisNetwork, create_lycoris_from_weights
from safetensors.torch import load_file

from tests.consumers.by_diffusers import weights


def main(folder: Path) -> None:
    """Merge each format."""
    LycorisNetwork.apply_preset({"lora_prefix": "lora_unet"})
    seen = {
        "lora, along directions": merged(folder, "lora-rex", "rex"),
        "lora, of a mask, rank 8": merged(folder, "lora", "all"),
        "lycoris": merged(folder, "lycoris", "all"),
    }
    versions = {"lycoris-lora": version("lycoris-lora")}
    sys.stdout.write(json.dumps({"versions": versions, "seen": seen}) + "\n")


def merged(folder: Path, kind: str, expected: str) -> str:
    """How far the weights are off that it merges."""
    unet = UNet2DConditionModel.from_pretrained(folder / "base" / "unet")
    base = {name: one.clone() for name, one in unet.state_dict().items()}
    file = next((folder / kind).glob("*.safetensors"))
    network, _ = create_lycoris_from_weights(1.0, str(file), unet)
    network.merge_to(1.0)
    found = weights(unet, load_file(folder / f"{expected}.safetensors"), base)
    said = json.loads((folder / "said.json").read_text()).get(kind)
    return f"{found}, as cns said ({said:.1e})" if said else found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
