"""The scale of a module's change, by where a file says it; each rule is what the programs themselves do.

A file of kohya or LyCORIS has an alpha beside each module: scale = alpha / rank, and 1 where there is none, also beside
modules that have one. rsLoRA's root is in their alpha already. PEFT folders, and diffusers in the file's header, have
settings: alpha and rank by patterns of names, and the root where `use_rslora` says so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from cns.errors import AdapterError

PLAIN = re.compile(r"\^?(?:\w|-|\\?\.\*?){1,200}")
MAX_STARS = 3


def network_scale(alpha: float | None, rank: int | None) -> float:
    """Of a file with alphas beside the tensors; raises ValueError for an alpha of 0.

    Args:
        alpha: None where the module has none.
        rank: None where its method has none: of LoKr, both factors are whole, and alpha has no meaning.
    """
    if alpha == 0:
        raise ValueError("an alpha of 0, which some programs read as 1 and others as 0")
    return 1.0 if alpha is None or rank is None else alpha / rank


def configured_scale(config: Mapping[str, Any], name: str, rank: int | None) -> float:
    """Of a module by PEFT's settings; raises ValueError for an alpha of 0 or a setting that is no number.

    Args:
        config: As `adapter_config.json` has it.
        name: The module's, in its model.
        rank: By its tensors; None takes the settings'.
    """
    rank = rank or int(_of_pattern(config, "rank_pattern", name, config.get("r")))
    alpha = _of_pattern(config, "alpha_pattern", name, config.get("lora_alpha", config.get("alpha")))
    if alpha == 0:
        raise ValueError("an alpha of 0, which some programs read as 1 and others as 0")
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def settings_of(config: Mapping[str, Any], part: str) -> dict[str, Any] | None:
    """The settings of one part out of diffusers' header, where they are called `unet.r`; None where it has none."""
    found = {key.removeprefix(f"{part}."): value for key, value in config.items() if key.startswith(f"{part}.")}
    return found or None


def _of_pattern(config: Mapping[str, Any], which: str, name: str, otherwise: Any) -> float:
    """What the first pattern says that ends a name, as PEFT's `get_pattern_key` finds it."""
    patterns = config.get(which) or {}
    if not isinstance(patterns, dict):
        raise ValueError(f"{which} is no table")
    found = otherwise
    for pattern, value in patterns.items():
        if _ends(pattern, name):
            found = value
            break
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not math.isfinite(found):
        raise ValueError(f"{which.removesuffix('_pattern')} is {str(found)[:40]}, expected a number")
    return float(found)


def _ends(pattern: str, name: str) -> bool:
    """Whether a name, or what follows a dot in it, is what a pattern says.

    PEFT's patterns are regular expressions; of a stranger's only such are run as end soon on any name.
    """
    if not PLAIN.fullmatch(pattern) or pattern.count("*") > MAX_STARS:
        raise AdapterError(
            f"the settings hold the pattern {pattern[:60]!r}: expected names of modules, with `.*` at most",
            "save it again without patterns where it was made",
        )
    return re.match(rf"(.*\.)?({pattern})$", name) is not None
