"""Which devices can be computed on, as far as can be told without importing torch.

Importing it takes seconds, and loading a base takes more: a GPU that this machine lacks is refused before.
"""

from __future__ import annotations

import ctypes
import importlib.util
import re
import sys
from pathlib import Path


def is_possible(name: str) -> bool:
    """Whether this machine might have a device: False where it surely lacks it.

    Args:
        name: "auto", "cpu", "cuda" (or "cuda:1"), "mps", or "balanced": all of CUDA's.
    """
    kind = name.partition(":")[0]
    if kind == "mps":
        return sys.platform == "darwin"
    if kind not in ("cuda", "balanced"):
        return True
    builds = torch_builds()
    if builds is None or "hip" in builds:  # AMD's answers to the name of CUDA, and has drivers of its own
        return True
    return "cuda" in builds and _has_driver()


def accelerator_possible() -> bool:
    """Whether the installed torch could use any GPU."""
    return is_possible("mps") or torch_builds() != set()


def torch_builds() -> set[str] | None:
    """What the installed torch was built for, of "cuda", "hip" and "xpu"; None where it does not say.

    Read from its `version.py`, which names what it has.
    """
    found = importlib.util.find_spec("torch")  # finds, does not import
    places = list(found.submodule_search_locations or ()) if found else []
    if not places:
        return set()
    try:
        text = (Path(places[0]) / "version.py").read_text(encoding="utf-8")
    except OSError:
        return None
    builds = dict(re.findall(r"^(cuda|hip|xpu)\b[^=\n]*=\s*(\S+)", text, re.MULTILINE))
    return {name for name, value in builds.items() if value != "None"} if builds else None


def _has_driver() -> bool:
    """Whether NVIDIA's driver is there and finds a GPU that this process may use (cuInit, CUDA Driver API)."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return bool(driver.cuInit(0) == 0)
