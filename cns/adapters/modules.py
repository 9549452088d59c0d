"""The modules of a base that an adapter can name, by every dialect's spelling, with the shapes of their weights.

Taken from the tables of the base's files: no model is loaded, and a weight is read only where a rule needs it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cns.files.keys import SECOND_ENCODER, TEXT_ENCODERS, TEXT_MODEL, text_modules, unet_modules
from cns.files.models import weight_files
from cns.files.pipelines import parts_of
from cns.files.tensors import read_header, read_tensor

UNET, TEXT, SECOND = "unet", "text_encoder", "text_encoder_2"
WEIGHT = ".weight"


@dataclass(frozen=True)
class Module:
    """A module of a base that has a weight.

    Attributes:
        part: `UNET`, `TEXT` or `SECOND`.
        name: As the part's state dict has it, without `.weight`.
        shape: Of its weight.
        file, facts: Where that is.
    """

    part: str
    name: str
    shape: tuple[int, ...]
    file: Path
    facts: dict[str, Any]

    @property
    def is_kv(self) -> bool:
        """Whether it is a key or value projection of cross-attention, the only ones that a concept changes."""
        return self.part == UNET and self.name.endswith(("attn2.to_k", "attn2.to_v"))

    @property
    def kind(self) -> str:
        """What it is, in a word or two."""
        if self.part != UNET:
            return "text encoder"
        if self.is_kv:
            return "K/V"
        if ".attn" in self.name:
            layer = self.name.rpartition(".")[2]
            layer = "to_out" if ".to_out." in self.name else layer
            return layer if layer in ("to_q", "to_out") else "self-attention K/V"
        return "ff" if ".ff." in self.name else "conv" if len(self.shape) == 4 else "others"

    def weight(self) -> NDArray[np.float64]:
        """The base's weight."""
        return read_tensor(self.file, self.facts).astype(np.float64)


class Modules:
    """Every module of a base.

    Args:
        folder: The base's.

    Attributes:
        spelled: What an adapter's file may call it -> the module.
        token_widths: Numbers in an embedding row of each text encoder.
    """

    def __init__(self, folder: Path) -> None:
        unet = _read(folder, UNET)
        self.spelled: dict[str, Module] = {}
        self.token_widths: tuple[int, ...] = ()
        for spelled, name in unet_modules(unet).items():
            self.spelled[spelled] = self.spelled[spelled.replace("lora_unet_", "lycoris_", 1)] = unet[name]
        for part, prefixes in ((SECOND, SECOND_ENCODER), (TEXT, TEXT_ENCODERS)):  # PEFT's names mean the first
            if part in parts_of(folder):
                self._add_text(part, _read(folder, part), prefixes)
        for name, module in unet.items():
            self._add(f"{UNET}.", name, module)

    def _add_text(self, part: str, text: dict[str, Module], prefixes: tuple[str, ...]) -> None:
        for spelled, name in text_modules(text, prefixes).items():
            self.spelled[spelled] = text[name]
        for name, module in text.items():
            bare = name.removeprefix(TEXT_MODEL)
            for spelled in (bare, TEXT_MODEL + bare):
                self._add(f"{part}.", spelled, module)
        width = self.spelled[f"{part}.embeddings.token_embedding"].shape[1]
        self.token_widths = (width, *self.token_widths)

    def _add(self, part: str, spelled: str, module: Module) -> None:
        for prefix in (part, "base_model.model.", f"base_model.model.{part}"):
            self.spelled[prefix + spelled] = module


def _read(folder: Path, part: str) -> dict[str, Module]:
    return {module.name: module for module in _modules(folder, part)}


def _modules(folder: Path, part: str) -> Iterator[Module]:
    for file in weight_files(folder, part):
        for name, facts in read_header(file).items():
            if name.endswith(WEIGHT):
                yield Module(part, name.removesuffix(WEIGHT), tuple(facts["shape"]), file, facts)
