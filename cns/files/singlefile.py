"""Models in one file: what such a file holds, and where the folder lies to which a whole base in it was converted."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shlex
import tempfile
from collections.abc import Collection
from pathlib import Path

from cns.errors import BaseModelError
from cns.files.architectures import why_not
from cns.files.keys import LDM_PARTS
from cns.files.models import file_sha256
from cns.files.tensors import read_header

CONVERTED = "checkpoint.json"
"""What is written down of a conversion, beside the parts."""

SHA256_DIGITS = 64

CONVERSION = "1"
"""Of single files: whoever changes what `cns.checkpoints` writes, raises it."""

FILE_MARKS = (
    (r"lora|lycoris_|\.hada_|\.lokr_", "it is an adapter, a change of a base", "cns import FILE NAME"),
    (
        r"^(emb_params|string_to_param|clip_[lg]|<.+>)$",
        "it is a textual inversion, the vector of a token",
        "cns import LORA NAME --embedding FILE",
    ),
    (r"^control_model\.|controlnet_|^input_hint_block\.", "it is a ControlNet", ""),
    (
        r"^conditioner\.embedders\.",
        "it is an SDXL without one of its text encoders, such as a refiner",
        "",
    ),
    (r"(^|\.)joint_blocks\.", "StableDiffusion3Pipeline", ""),
    (r"(^|\.)double_blocks\.", "FluxPipeline", ""),
    (r"^(encoder|decoder|first_stage_model)\.", "it is an autoencoder (VAE) alone", ""),
    (r"^(input_blocks|down_blocks|model\.diffusion_model)\.", "it is a denoiser alone", ""),
)
"""Names of tensors in one file, what such a file is, and what to do with it; the first that fits."""


def converted(file: Path, cache_folder: Path | None) -> Path:
    """The folder to which a file was converted: once, under the digest of its bytes, in the hub client's cache.

    Whether a file's bytes are known is told by its place, size and time of change: to read gigabytes takes seconds.

    Raises:
        BaseModelError: it holds no whole Stable Diffusion; says what else.
    """
    from huggingface_hub import cached_assets_path

    if file.suffix != ".safetensors":
        reason = "it is no safetensors file; a pickle can run code and is never loaded"
        hint = "Get the .safetensors file from where the model is published, or its diffusers folder"
        raise BaseModelError(f"{file} is no base model: {reason}", hint, source=str(file))
    if (other := what_else(read_header(file))) is not None:
        hint = other[1].replace("FILE", shlex.quote(str(file)))
        raise BaseModelError(f"{file} is no base model: {other[0]}", hint, source=str(file))
    place = cached_assets_path("cns", "bases", CONVERSION, assets_dir=cache_folder)
    status = file.stat()
    key = hashlib.sha256(f"{file}\n{status.st_size}\n{status.st_mtime_ns}".encode()).hexdigest()
    known = place / f"{key}.txt"
    digest = known.read_text() if known.is_file() else ""
    if len(digest) != SHA256_DIGITS:  # another process may be writing it
        digest = file_sha256(file)
    folder = place / digest[:32]
    if not folder.is_dir():
        from cns.checkpoints import convert  # torch's seconds, once a file

        with tempfile.TemporaryDirectory(dir=place, prefix="half-", ignore_cleanup_errors=True) as half:
            (Path(half) / "base").mkdir()
            convert(file, Path(half) / "base")
            with contextlib.suppress(OSError):  # another process was faster
                (Path(half) / "base").rename(folder)
    known.write_text(digest)
    return folder


def family_in(names: Collection[str]) -> str | None:
    """The family of the Stable Diffusion of which a file of tensors has all parts; None of another file."""
    for family, parts in LDM_PARTS.items():
        if all(any(name.startswith(prefix) for name in names) for prefix in parts.values()):
            return family
    return None


def what_else(names: Collection[str]) -> tuple[str, str] | None:
    """What a file of tensors is and what to do with it, in words; None for a whole Stable Diffusion.

    Args:
        names: Of its tensors.
    """
    if family_in(names) is not None:
        return None
    hint = "Name a file with denoiser, VAE and text encoder, or a diffusers folder: cns init --base FOLDER"
    for mark, reason, todo in FILE_MARKS:
        if any(re.search(mark, name) for name in names):
            return why_not(reason) or reason, todo or hint
    return f"it holds {', '.join(sorted(names)[:2]) or 'nothing'}, of no model that is known here", hint
