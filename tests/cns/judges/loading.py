"""The judges of a base, found and loaded by their names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cns.families import Family
from cns.judges.encoders import ImageEncoder, load_judge
from cns.judges.files import find_judge


def load_encoders(
    family: Family, base_folder: Path, names: Sequence[str] = ("clip", "identity")
) -> dict[str, ImageEncoder | None]:
    """Find and load the judges of a base; None where it has no such judge.

    Raises:
        EncoderMissingError: a judge is neither in the base's folder nor on this machine nor to be fetched.
    """
    folders = {name: find_judge(name, family, base_folder) for name in names}
    return {name: None if folder is None else load_judge(name, folder) for name, folder in folders.items()}
