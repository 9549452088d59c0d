"""What can be written for other programs: one row of `FORMATS` each, with the function that writes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cns_cli.porcelain.exchange import checkpoint, diffusers, networks, parts
from cns_cli.porcelain.exchange.order import Order


@dataclass(frozen=True)
class Format:
    """One row.

    Attributes:
        about: In a few words.
        write: Fills a folder; returns how far the weights that a program reads are from those of `cns generate`, as a
            share of the change (Frobenius norms), or None where it says nothing about that.
        load: Lines of Python that open it, with `{folder}`, `{file}`, its `{name}`, `{token}`, `{base}`, `{dtype}` and
            `{pipeline}`, the class.
        load_two: The same for a base of two text encoders, where that is another.
        apart: Each concept has a file of its own, so that no choice among them is needed.
        whole: The base is inside.
        any_base: A base that reads prompts by another text encoder than CLIP can be written so.
    """

    about: str
    write: Callable[[Order, Path], float | None]
    load: tuple[str, ...] = ()
    load_two: tuple[str, ...] = ()
    apart: bool = False
    whole: bool = False
    any_base: bool = False


_PIPELINE = "from diffusers import {pipeline}"

FORMATS: Mapping[str, Format] = {
    "diffusers": Format(
        "a pipeline folder",
        diffusers.write,
        (
            "import torch",
            _PIPELINE,
            'pipeline = {pipeline}.from_pretrained("{folder}", dtype=torch.{dtype})',
        ),
        whole=True,
        any_base=True,
    ),
    "checkpoint": Format(
        "one file with the whole model, as the first Stable Diffusion came",
        checkpoint.write,
        (_PIPELINE, 'pipeline = {pipeline}.from_single_file("{file}", config="{base}")'),
        whole=True,
    ),
    "lycoris": Format("the change of the weights, exact, at any strength", networks.write_lycoris),
    "lora": Format(
        "the change as a LoRA, exact for one along directions, else the nearest of --rank",
        networks.write_lora,
        ('pipeline.load_lora_weights("{folder}", weight_name="{name}")',),
    ),
    "comfy": Format("the weights themselves for ComfyUI, exact", networks.write_comfy),
    "embedding": Format(
        "the vectors of each token",
        parts.write_embedding,
        ('pipeline.load_textual_inversion("{file}", token="{token}")',),
        (
            'vectors = safetensors.torch.load_file("{file}")',
            'first = {{"text_encoder": pipeline.text_encoder, "tokenizer": pipeline.tokenizer}}',
            'second = {{"text_encoder": pipeline.text_encoder_2, "tokenizer": pipeline.tokenizer_2}}',
            "pipeline.text_encoder_2.text_model.eos_token_id = pipeline.tokenizer_2.eos_token_id",
            'pipeline.load_textual_inversion(vectors["clip_l"], token="{token}", **first)',
            'pipeline.load_textual_inversion(vectors["clip_g"], token="{token}", **second)',
        ),
        apart=True,
    ),
    "delta": Format(
        "what cns stores of each concept's change, bit for bit", parts.write_delta, apart=True, any_base=True
    ),
}
"""Format -> its row."""
