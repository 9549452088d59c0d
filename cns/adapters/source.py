"""A safetensors file from a stranger, read one tensor at a time, in float64.

Sizes and places are checked against the file before memory is taken (`cns.files.tensors`). A pickle can run code and
is never opened here.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cns.errors import AdapterError, BaseModelError
from cns.files.models import file_sha256
from cns.files.plain import open_plain, reason_of
from cns.files.tensors import read_header, read_notes, read_tensor

MAX_JSON_BYTES = 2**20
MAX_NUMBERS = 2**26  # of one tensor; the largest of Stable Diffusion has 30 million
DTYPES = {"F64": "<f8", "I64": "<i8", "I32": "<i4"}  # beside those of a base
PICKLES = (".pt", ".bin", ".pth", ".ckpt")


@dataclass(frozen=True)
class Source:
    """One safetensors file.

    Attributes:
        path: Where it lies.
        table: Tensor name -> its entry, see `cns.files.tensors.read_header`.
        notes: The header's own entries, texts.
    """

    path: Path
    table: dict[str, dict[str, Any]]
    notes: dict[str, str]

    @classmethod
    def open(cls, path: Path) -> Source:
        """Read the table of a file.

        Raises:
            AdapterError: It is a pickle, damaged, or holds no tensor.
        """
        if path.suffix.lower() in PICKLES:
            raise AdapterError(
                f"{path} is a pickle, which can run code and is never loaded: expected a .safetensors file",
                "save it as safetensors where it was made",
                path=path,
            )
        try:
            source = cls(path, read_header(path), read_notes(path))
        except BaseModelError as error:
            raise AdapterError(error.message, "get the file again from where it is published", path=path) from error
        if not source.table:
            raise AdapterError(f"{path} holds no tensor", path=path)
        return source

    @cached_property
    def sha256(self) -> str:
        """Digest of the file, hex."""
        return file_sha256(self.path)

    def raw(self, name: str) -> bytes:
        """The bytes of a tensor as they lie in the file."""
        facts = self.table[name]
        with open_plain(self.path) as file:
            file.seek(facts["start"])
            return file.read(facts["end"] - facts["start"])

    def read(self, name: str) -> NDArray[np.float64]:
        """One tensor as float64, exactly, any shape.

        Raises:
            AdapterError: It is of no type that is read, or holds NaN or infinity.
        """
        facts = self.table[name]
        if math.prod(facts["shape"]) > MAX_NUMBERS:
            raise AdapterError(f"{self.path}: {name} holds more than {MAX_NUMBERS:,} numbers", path=self.path)
        try:
            if facts["dtype"] in DTYPES:
                data = np.frombuffer(self.raw(name), DTYPES[facts["dtype"]])
                values = data.reshape(facts["shape"]).astype(np.float64)
            else:
                values = read_tensor(self.path, facts).astype(np.float64)
        except BaseModelError as error:
            raise AdapterError(error.message, "save it in float32", path=self.path) from error
        if not np.isfinite(values).all():
            raise AdapterError(f"{self.path} holds NaN or infinity, in {name}: the training diverged", path=self.path)
        return values


def read_config(path: Path) -> dict[str, Any]:
    """A JSON object, such as `adapter_config.json`; raises AdapterError."""
    try:
        with open_plain(path) as file:
            return as_config(path, file.read(MAX_JSON_BYTES + 1).decode())
    except (OSError, UnicodeDecodeError) as error:
        raise AdapterError(f"{path} cannot be read: {reason_of(error)}", path=path) from error


def as_config(path: Path, text: str) -> dict[str, Any]:
    """The JSON object of a text that a file holds; raises AdapterError."""
    try:
        if len(text) > MAX_JSON_BYTES:
            raise ValueError(f"more than {MAX_JSON_BYTES:,} characters")
        config = json.loads(text)
        if not isinstance(config, dict):
            raise ValueError("no object")
    except (ValueError, RecursionError) as error:
        raise AdapterError(f"{path} holds settings that are no JSON object: {reason_of(error)}", path=path) from error
    return config
