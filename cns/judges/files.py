"""Judges as files: where a base's image encoders lie, which kind each is, and its digest. No torch.

A base that ships judges in `clip/` and `identity/` is judged by those, others by the hub models that their family
names; a user may put another in the place of either. The digest of a judge's files is part of the protocol of a score,
so it must be known without loading the judge. `encoders.py` turns a folder found here into features.
"""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path

from cns.errors import BaseModelError, EncoderMissingError
from cns.families import Family
from cns.files.hub import HUB_ID, fetch_snapshot
from cns.files.models import file_sha256, read_json, tensors_of
from cns.files.plain import typed_path

HUB_PATTERNS = (
    "config.json",
    "model.safetensors",
    "preprocessor_config.json",
    "tokenizer*.json",
    "vocab.json",
    "merges.txt",
)
WEIGHTS_NAME = "model.safetensors"
NEEDED_FILES = ("config.json", WEIGHTS_NAME, "preprocessor_config.json")
KINDS = {"clip": "clip", "dinov2": "identity"}
"""`model_type` of a config -> which judge such a model is; the embedded base's identity encoder names itself."""


def find_judges(family: Family, base_folder: Path, encoder: str | None = None) -> dict[str, Path]:
    """Find the folders of a base's judges.

    Args:
        family: The base's family.
        base_folder: Where the base is; judges in its `clip/` and `identity/` win over the family's hub models.
        encoder: Another judge, a folder or a hub id, with or without "@revision": a CLIP takes the place of the CLIP, a
            DINOv2 (or an identity encoder in the embedded base's format) that of the identity judge.

    Returns:
        {"identity": folder, "clip": folder}, without "identity" where the base has no such judge.

    Raises:
        EncoderMissingError: a judge is neither in the base's folder nor on this machine nor to be fetched.
    """
    other = {} if encoder is None else find_named(encoder)
    found = {name: other.get(name) or find_judge(name, family, base_folder) for name in family.encoders}
    return {name: folder for name, folder in found.items() if folder is not None}


def judges_bytes(family: Family, base_folder: Path, encoder: str | None = None) -> int:
    """What a base's judges take in memory, in float32; arguments and errors as of `find_judges`."""
    found = find_judges(family, base_folder, encoder)
    return 4 * tensors_of([folder / WEIGHTS_NAME for folder in found.values()])


def find_judge(name: str, family: Family, base_folder: Path) -> Path | None:
    """Find the folder of one judge, "clip" or "identity"; None if the base has no identity judge."""
    folder = base_folder / name
    if folder.is_dir():
        return folder
    hub_id = family.clip if name == "clip" else family.identity
    if hub_id is not None:
        return _from_hub(hub_id)
    if name == "identity":
        return None
    raise missing(folder, "the base ships no CLIP and its family names none")


def find_named(encoder: str) -> dict[str, Path]:
    """Find a judge that a user names: {"clip" or "identity": folder}.

    Raises:
        EncoderMissingError: it is not there, or is of a kind that cannot judge.
    """
    folder = typed_path(encoder)
    if not folder.is_dir():
        if not HUB_ID.match(encoder.partition("@")[0]):
            raise missing(encoder, "expected a folder, or a hub id 'owner/name', with or without '@revision'")
        folder = _from_hub(encoder)
    return {judge_kind(folder): folder.resolve()}


def judge_kind(folder: Path) -> str:
    """Which judge the model in a folder can be: "clip" or "identity".

    Raises:
        EncoderMissingError: neither.
    """
    config = _config(folder)
    kind = "identity" if config.get("architecture") == "IdentityEncoder" else KINDS.get(str(config.get("model_type")))
    if kind is None:
        raise missing(folder, f"it is a {config.get('model_type')!r}; expected {', '.join(map(repr, KINDS))}")
    return kind


def is_dino(folder: Path) -> bool:
    """Whether an identity judge is a DINOv2."""
    return _config(folder).get("model_type") == "dinov2"


def folder_digest(folder: Path) -> str:
    """SHA-256 hex over the names and contents of the files that an encoder is loaded from, no others in its folder."""
    paths = sorted({path for pattern in HUB_PATTERNS for path in folder.glob(pattern)})
    stamps = tuple((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths)
    return _digest(folder.resolve(), stamps)


@functools.lru_cache(maxsize=16)
def _digest(folder: Path, stamps: tuple[tuple[str, int, int], ...]) -> str:
    """Read each file once in a process: a check asks for the digest of a CLIP of hundreds of megabytes often."""
    table = {name: file_sha256(folder / name) for name, _, _ in stamps}
    return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()


def missing(place: Path | str, reason: object) -> EncoderMissingError:
    """The error of a judge that cannot be loaded from a place."""
    text = (str(reason).splitlines() or [""])[0][:300]
    return EncoderMissingError(
        f"the judge {place} cannot be loaded: {text}",
        f"Put a folder with config.json, {WEIGHTS_NAME} and preprocessor_config.json there, or go online once",
        source=str(place),
    )


def _from_hub(name: str) -> Path:
    """A hub model "owner/name" or "owner/name@revision": one whose files are all in the local cache needs no network.

    Other programs leave snapshots there that lack some of them.
    """
    hub_id, _, revision = name.partition("@")
    reason: object = ""
    for offline in (True, False):
        try:
            folder = fetch_snapshot(hub_id, HUB_PATTERNS, revision=revision or None, offline=offline)
        except BaseModelError as error:
            reason = error
            continue
        absent = [file for file in NEEDED_FILES if not (folder / file).is_file()]
        if not absent:
            return folder
        reason = f"{folder} has no {absent[0]}"
    raise missing(name, reason)


def _config(folder: Path) -> dict[str, object]:
    try:
        return read_json(folder / "config.json")
    except BaseModelError as error:
        raise missing(folder, error) from error
