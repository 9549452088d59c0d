"""The word lists of a base: its calibration prompts and the class nouns it knows.

The calibration set is a fixed, versioned list of diverse prompts. Its halves must not mix: the even positions find
general neurons and anchor the regularizers, the odd ones only ever judge zero-shot drift. A base ships its own lists in
its folder; Stable Diffusion's are in `cns/calibration/`. The module reads and checks; it encodes nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cns.errors import BaseModelError
from cns.families import Family
from cns.files.models import read_json

LISTS_FOLDER = Path(__file__).parent / "calibration"
MIN_CALIBRATION_PROMPTS = 200
MAX_ROWS = 10_000


@dataclass(frozen=True)
class Calibration:
    """The calibration set of a base: diverse prompts in a fixed order.

    Attributes:
        version: Version of the list.
        prompts: At least 200 different prompts.
    """

    version: int
    prompts: tuple[str, ...]

    @property
    def selection(self) -> tuple[str, ...]:
        """The half that finds general neurons and anchors the regularizers (even positions)."""
        return self.prompts[0::2]

    @property
    def held_out(self) -> tuple[str, ...]:
        """The half that only judges zero-shot drift (odd positions)."""
        return self.prompts[1::2]

    @property
    def digest(self) -> str:
        """SHA-256 hex of the list; part of every record that used it."""
        return prompts_digest(self.prompts)


def calibration_of(family: Family, base_folder: Path) -> Calibration:
    """Read the calibration prompts of a base.

    Args:
        family: The base's family.
        base_folder: The base's folder; its own list wins over the family's.

    Raises:
        BaseModelError: no list, or one that is not >= 200 different prompts.
    """
    path, data = _read_list(family.calibration, base_folder)
    prompts = tuple(_text(row, "prompt") for row in _rows(path, data, "prompts"))
    if len(set(prompts)) < MIN_CALIBRATION_PROMPTS or len(set(prompts)) != len(prompts):
        raise BaseModelError(
            f"{path} holds {len(prompts)} prompts, {len(set(prompts))} of them different: "
            f"expected at least {MIN_CALIBRATION_PROMPTS}, all different",
            source=str(base_folder),
        )
    return Calibration(version=_version(path, data), prompts=prompts)


def nouns_of(family: Family, base_folder: Path) -> tuple[str, ...]:
    """The class nouns among which a concept's is looked for, best known first; the embedded base knows no others.

    Raises:
        BaseModelError: the base's list is missing or empty.
    """
    path, data = _read_list(family.nouns, base_folder)
    nouns = tuple(_text(row, "noun") for row in _rows(path, data, "nouns"))
    if not nouns:
        raise BaseModelError(f"{path} holds no noun", source=str(base_folder))
    return nouns


def backgrounds_of(family: Family, base_folder: Path) -> tuple[str, ...]:
    """The phrases for a picture's background that the base was trained on; empty where its list names none."""
    path, data = _read_list(family.nouns, base_folder)
    return tuple(_text(row, "background") for row in _rows(path, data, "backgrounds")) if "backgrounds" in data else ()


def prompts_digest(prompts: Sequence[str]) -> str:
    """SHA-256 hex of an ordered list of prompts or templates: equal exactly when the lists are equal."""
    text = json.dumps(list(prompts), ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def names(prompt: str, nouns: Collection[str], known: Collection[str] = ()) -> bool:
    """Whether a prompt names one of some nouns, or several of it; a teddy bear is no bear where it is known."""
    for longer in (one for one in known if one not in nouns):
        prompt = re.sub(rf"\b{re.escape(longer)}s?\b", "", prompt, flags=re.IGNORECASE)
    return any(re.search(rf"\b{re.escape(noun)}s?\b", prompt, re.IGNORECASE) for noun in nouns)


def _read_list(name: str, base_folder: Path) -> tuple[Path, dict[str, Any]]:
    """The base's own list of this name, or else the family's."""
    candidates = [base_folder / name, LISTS_FOLDER / name]
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        raise BaseModelError(
            f"the base at {base_folder} lacks its word list: expected {candidates[0]}",
            "Install the base again, or use another, in a new folder: cns init --base emoji-64",
            source=str(base_folder),
        )
    return path, read_json(path)


def _rows(path: Path, data: dict[str, Any], key: str) -> list[Any]:
    rows = data.get(key)
    if not isinstance(rows, list) or len(rows) > MAX_ROWS:
        raise BaseModelError(f"{path} has no list '{key}' of at most {MAX_ROWS:,} texts", source=str(path.parent))
    return rows


def _version(path: Path, data: dict[str, Any]) -> int:
    version = data.get("version")
    if not isinstance(version, int):
        raise BaseModelError(f"{path} has no version, a whole number", source=str(path.parent))
    return version


def _text(row: Any, key: str) -> str:
    """A list's row is the text itself, or an object that holds it under a key."""
    text = row if isinstance(row, str) else row.get(key) if isinstance(row, dict) else None
    if not isinstance(text, str):
        raise BaseModelError(f"a word list of the base holds {str(row)[:40]!r}: expected a text, or one under '{key}'")
    return text
