"""A pipeline folder, with which plain diffusers makes the same images as `cns generate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it loads torch
    from cns_cli.porcelain.models.session import Session

ABOUT = "a pipeline folder"
_DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


def write(session: Session, folder: Path, dtype: str) -> None:
    """Fill a folder with the pipeline of a session whose tree is set; `dtype` is fp32, fp16 or bf16.

    In float32, the masters' own precision, every weight outside the concepts' masks equals the base's bit for bit.
    """
    import torch

    from cns.quiet import quiet_libraries

    pipeline = session.base.model.pipeline
    with quiet_libraries():
        if dtype != "fp32":
            pipeline.to(dtype=getattr(torch, _DTYPES[dtype]))
        pipeline.save_pretrained(folder, safe_serialization=True)


def loading_lines(folder: Path, dtype: str) -> tuple[str, ...]:
    """Return the lines of Python that open the folder."""
    return (
        "import torch",
        "from diffusers import StableDiffusionPipeline",
        f'pipeline = StableDiffusionPipeline.from_pretrained("{folder}", dtype=torch.{_DTYPES[dtype]})',
    )
