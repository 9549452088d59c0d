"""One file with a whole Stable Diffusion, as A1111 and ComfyUI have it, to a diffusers folder.

Such a file holds tensors under the names of the first Stable Diffusion (LDM) and little else. Its widths are read off
its tensors (`cns.files.ldm`). Whether noise or velocity is predicted is told by no name: the file's header may say it,
else it is tried. Bytes are moved as they are, and every byte that is written follows from the file, whatever the
versions of libraries, so that two people with one file have one base.

Everything of the models must be there, in its shape, and nothing else of them. What is left out is counted.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cns.errors import BaseModelError
from cns.files.keys import LDM_PARTS, OPEN_CLIP, TEXT_MODEL, ldm_unet, ldm_vae, open_clip
from cns.files.ldm import H_LAYERS, INDEX, INDEX_XL, Header, configs_of, schedule, write_tokenizer
from cns.files.plain import open_plain, reason_of, write_json
from cns.files.singlefile import CONVERTED, family_in
from cns.files.tensors import EXPONENTS, ITEM_BYTES, SCANNED_BYTES, read_header, read_notes
from cns.loading import load_pipeline
from cns.quiet import quiet_libraries
from cns.text import conditions_of

with quiet_libraries():
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

PROJECTION = "text_projection.weight"
"""Of a pooled text: OpenCLIP multiplies by it from the right, so that it lies there the other way round."""

UNREAD = ("position_ids", "attn_mask", "logit_scale", "text_projection")
"""Ends of names in a text encoder that no picture depends on."""

EPSILON_COSINE = 0.5
"""From which on an answer to noise alone is the noise: at the noisiest step a model of noise answers with its input, a
model of velocity with the picture that it sees in it. Measured on the embedded base, of velocity: 0.10, and 1.00
where its answers are turned into noise. The limit between them is chosen."""


def convert(file: Path, folder: Path) -> None:
    """Write the base that a file holds.

    Args:
        file: A safetensors file with a whole Stable Diffusion, by `cns.files.singlefile.what_else`.
        folder: Where to; is there, and empty.

    Raises:
        BaseModelError: it holds something else, lacks a tensor, or has one too many.
    """
    header, notes = read_header(file), read_notes(file)
    family = family_in(header) or ""
    try:
        configs = configs_of(header, family)
    except (KeyError, IndexError, ValueError) as error:
        raise _refused(file, f"its parts are not those of a Stable Diffusion: {error}") from error
    used = set()
    for part, config in configs.items():
        tensors = {ours: (theirs, facts) for ours, theirs, facts in _tensors(file, header, part, config, family)}
        used |= {theirs for theirs, _ in tensors.values()}
        write_json(folder / part / "config.json", config)
        _write(folder / part / FILES[part], file, {name: facts for name, (_, facts) in tensors.items()})
    left_out = _left_out(file, header, used, family)
    for part, prefix in LDM_PARTS[family].items():
        if part.startswith("text_encoder"):
            write_tokenizer(folder / part.replace("text_encoder", "tokenizer"), open_clips=prefix in OPEN_CLIP)
    write_json(folder / "model_index.json", INDEX_XL if family == "sdxl" else INDEX)
    write_json(folder / SCHEDULE, schedule("epsilon"))
    said = notes.get("modelspec.prediction_type") or ("v" if "v_pred" in header else "")
    velocity = said.startswith("v") if said else _answer_to_noise(folder) < EPSILON_COSINE
    write_json(folder / SCHEDULE, schedule("v_prediction" if velocity else "epsilon", zero_snr="ztsnr" in header))
    side = _side(notes, 1024 if family == "sdxl" else 768 if velocity and family == "sd-2" else 512)
    side //= 2 ** (len(configs["vae"]["block_out_channels"]) - 1)
    write_json(folder / "unet" / "config.json", {**configs["unet"], "sample_size": side})
    write_json(
        folder / CONVERTED, {"left_out": left_out, "predicts": "velocity" if velocity else "noise", "said": said}
    )


SCHEDULE = Path("scheduler") / "scheduler_config.json"
FILES = {
    "unet": "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
    "text_encoder": "model.safetensors",
    "text_encoder_2": "model.safetensors",
}
MODELS: dict[str, Callable[[Any], torch.nn.Module]] = {
    "unet": UNet2DConditionModel.from_config,
    "vae": AutoencoderKL.from_config,
    "text_encoder": lambda config: CLIPTextModel(CLIPTextConfig(**config)),
    "text_encoder_2": lambda config: CLIPTextModelWithProjection(CLIPTextConfig(**config)),
}


def _tensors(
    file: Path, header: Header, part: str, config: Mapping[str, Any], family: str
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each parameter of a part, its name in the file, and its dtype, shape and place there."""
    try:
        with torch.device("meta"), quiet_libraries():
            shapes = {name: tuple(one.shape) for name, one in MODELS[part](config).named_parameters()}
    except Exception as error:
        raise _refused(file, f"its {part} is none: {reason_of(error)}") from error
    for name, (theirs, third) in _names(part, shapes, header, family).items():
        bare, shape = name.removeprefix(TEXT_MODEL), shapes[name]
        if theirs not in header:
            raise _refused(file, f"it lacks {theirs}")
        dtype, stored, start, end = (header[theirs][fact] for fact in ("dtype", "shape", "start", "end"))
        if third is not None:
            size, rows = (end - start) // 3, [number // 3 for number in stored[:1]]
            start, end, stored = start + third * size, start + (third + 1) * size, rows + stored[1:]
        if bare == PROJECTION:
            stored = stored[::-1]
        if stored not in ([*shape], [*shape, 1, 1]):  # a matrix here, a 1x1 convolution there
            raise _refused(file, f"{theirs} is of shape {stored}, expected {[*shape]}")
        if dtype not in EXPONENTS:
            raise _refused(file, f"{theirs} is of type {dtype}, expected F32, F16 or BF16")
        ours = TEXT_MODEL + bare if part.startswith("text_encoder") and bare != PROJECTION else name
        yield ours, theirs, {"dtype": dtype, "shape": [*shape], "start": start, "end": end}


def _names(part: str, shapes: Mapping[str, Any], header: Header, family: str) -> dict[str, tuple[str, int | None]]:
    """Parameters -> their names in the file, and which third of it is meant where it holds query, key and value."""
    prefix = LDM_PARTS[family][part]
    if part in ("unet", "vae"):
        return {ours: (prefix + name, None) for ours, name in (ldm_unet if part == "unet" else ldm_vae)(shapes).items()}
    bare = {name: name.removeprefix(TEXT_MODEL) for name in shapes}
    if prefix not in OPEN_CLIP:
        inside = prefix + TEXT_MODEL  # transformers before 4.0 had none
        start = inside if any(name.startswith(inside) for name in header) else prefix
        return {name: (start + one, None) for name, one in bare.items()}
    found = {}
    for name, one in bare.items():
        third = next((at for at, letter in enumerate("qkv") if f".self_attn.{letter}_proj." in one), None)
        found[name] = prefix + open_clip(re.sub(r"\.[kv]_proj\.", ".q_proj.", one)), third
    return found


def _left_out(file: Path, header: Header, used: set[str], family: str) -> dict[str, int]:
    """How many tensors were not used, by the first word of their names.

    Raises:
        BaseModelError: one of them is part of the models.
    """
    left = sorted(header.keys() - used)
    parts = LDM_PARTS[family]
    unread = (f"{parts['vae']}loss.", parts["text_encoder"] + open_clip(f"encoder.layers.{H_LAYERS - 1}."))
    for name in left:
        of_models = name.startswith((*parts.values(), "cond_stage_model.", "conditioner."))
        if of_models and not name.startswith(unread) and not name.removesuffix(".weight").endswith(UNREAD):
            raise _refused(file, f"it holds {name}, which is no part of a Stable Diffusion")
    return dict(Counter(name.partition(".")[0] for name in left))


def _write(target: Path, source: Path, tensors: Mapping[str, Mapping[str, Any]]) -> None:
    """Write tensors, whose bytes lie in another file, in the order of their names."""
    table: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name, facts in sorted(tensors.items()):
        end = start + facts["end"] - facts["start"]
        table[name] = {"dtype": facts["dtype"], "shape": facts["shape"], "data_offsets": [start, end]}
        start = end
    head = json.dumps(table, sort_keys=True, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    with open_plain(source) as data, target.open("wb") as out:
        out.write(len(head).to_bytes(8, "little") + head)
        for name, facts in sorted(tensors.items()):
            data.seek(facts["start"])
            if name == PROJECTION:
                rows = np.frombuffer(data.read(facts["end"] - facts["start"]), f"V{ITEM_BYTES[facts['dtype']]}")
                out.write(rows.reshape(facts["shape"][::-1]).T.tobytes())
                continue
            for place in range(facts["start"], facts["end"], SCANNED_BYTES):
                out.write(data.read(min(SCANNED_BYTES, facts["end"] - place)))


@torch.no_grad()
def _answer_to_noise(folder: Path) -> float:
    """The cosine of a denoiser's answer at its noisiest step with the noise that it is given."""
    pipeline = load_pipeline(folder)
    told = conditions_of(pipeline, [""]).inputs(128, 128)
    noise = torch.randn(1, pipeline.unet.config["in_channels"], 16, 16, generator=torch.Generator().manual_seed(0))
    answer = pipeline.unet(noise, 999, **told).sample
    return float(torch.nn.functional.cosine_similarity(answer.flatten(), noise.flatten(), dim=0))


def _side(notes: Mapping[str, str], default: int) -> int:
    """Side of the pictures that a base was made for, pixels: "512x512" in the file, or the default."""
    width, _, height = notes.get("modelspec.resolution", "").partition("x")
    whole = width.isdecimal() and width == height and len(width) < 5 and int(width) % 8 == 0
    return int(width) if whole and int(width) else default


def _refused(file: Path, reason: str) -> BaseModelError:
    return BaseModelError(
        f"{file} is not taken: {reason}",
        "Get the file again from where it is published, or a diffusers folder of the model",
        source=str(file),
    )
