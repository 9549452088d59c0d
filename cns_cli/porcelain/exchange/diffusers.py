"""A pipeline folder, with which plain diffusers makes the same images as `cns generate`."""

from __future__ import annotations

from pathlib import Path

import torch

from cns.quiet import quiet_libraries
from cns_cli.porcelain.models.session import Session

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def export_diffusers(session: Session, folder: Path, dtype: str) -> None:
    """Write a pipeline folder, with which plain diffusers makes the same images as `cns generate`.

    In float32, the masters' own precision, every weight outside the concepts' masks equals the base's bit for bit.
    """
    pipeline = session.base.model.pipeline
    with quiet_libraries():
        if dtype != "fp32":
            pipeline.to(dtype=DTYPES[dtype])
        pipeline.save_pretrained(folder, safe_serialization=True)


def _loading_lines(folder: Path, dtype: str) -> tuple[str, ...]:
    return (
        "import torch",
        "from diffusers import StableDiffusionPipeline",
        f'pipeline = StableDiffusionPipeline.from_pretrained("{folder}", dtype={DTYPES[dtype]})',
    )
