"""What is fetched of a hub's repositories: configs, vocabularies and safetensors; never a pickle, never code."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from cns.errors import BaseModelError
from cns.files.models import SENTENCEPIECE
from cns.files.pipelines import check_index, models_of

HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")
HUB_SOURCE = re.compile(HUB_ID.pattern[:-1] + r"(@[\w./-]+)?$")
HUB_PAGE = re.compile(r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/([\w.-]+/[\w.-]+)")

INDEX = ("model_index.json", "scheduler/scheduler_config.json")  # by which most bases are refused
BASE_FILES = (
    "model_index.json",
    *(
        f"{part}/{file}"
        for part in ("unet", "transformer", "vae")
        for file in ("config.json", "diffusion_pytorch_model*.safetensors*")
    ),
    *(f"text_encoder{number}/{file}" for number in ("", "_2") for file in ("config.json", "model*.safetensors*")),
    *(f"tokenizer{number}/{file}" for number in ("", "_2") for file in ("*.json", "merges.txt", SENTENCEPIECE)),
    "scheduler/scheduler_config.json",
)
HALF = ("*.fp16.safetensors", "*.fp16-*.safetensors", "*.index.fp16.json")  # of a part, where it has no other
IGNORED = (*HALF, "*.non_ema.safetensors*", "*.bf16.safetensors*")


def fetch_base(source: str, cache_folder: Path | None, *, offline: bool) -> Path:
    """The snapshot of a base: full-precision weights, and of a part that has none there the fp16 ones.

    Args:
        source: "owner/name" or "owner/name@revision"; offline, one that is not here gives way to what is.
        cache_folder: As of `fetch_snapshot`.
        offline: Likewise.

    Raises:
        BaseModelError: As of `fetch_snapshot`; or it is no pipeline, or of no supported kind.
    """
    hub_id, _, revision = source.partition("@")
    fetch = partial(fetch_snapshot, hub_id, cache_folder=cache_folder, offline=offline)
    if not offline:  # gigabytes are not fetched of what is not supported
        folder = fetch(INDEX, revision=revision or None)
        if not (folder / "model_index.json").is_file():
            raise BaseModelError(
                f"{hub_id} is no diffusers pipeline: it has no model_index.json",
                f"if it has one file: hf download {hub_id} X.safetensors --local-dir . and "
                "cns init --base X.safetensors",
                source=hub_id,
            )
        check_index(folder)
        revision = folder.name  # a branch may move on meanwhile
    try:
        folder = fetch(BASE_FILES, revision=revision or None)
    except BaseModelError:
        if not (revision and offline):
            raise
        return fetch(BASE_FILES)  # whoever asked compares digests
    lacking = [part for part in models_of(folder) if not any((folder / part).glob("*.safetensors"))]
    if lacking and not offline:
        halves = tuple(f"{part}/{pattern}" for part in lacking for pattern in HALF)
        fetch(halves, revision=folder.name, ignored=())
    return folder


def fetch_snapshot(
    hub_id: str,
    patterns: tuple[str, ...],
    *,
    cache_folder: Path | None = None,
    revision: str | None = None,
    offline: bool = False,
    ignored: tuple[str, ...] = IGNORED,
) -> Path:
    """Bring the named files of a hub repository, but for the ignored ones, into the local cache; return their folder.

    Raises:
        BaseModelError: the hub cannot be reached or does not have it, and neither does the cache.
    """
    from huggingface_hub import snapshot_download  # only here: it costs 0.3 s that a local base need not pay
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        folder = snapshot_download(
            hub_id,
            revision=revision,
            cache_dir=cache_folder,
            allow_patterns=list(patterns),
            ignore_patterns=list(ignored),
            local_files_only=offline,
        )
    except RepositoryNotFoundError as error:
        raise BaseModelError(
            f"the hub has no public model {hub_id!r}: expected the embedded base, a folder, or a hub id",
            "Check the name, or log in to the hub if it is gated: hf auth login",
            source=hub_id,
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError, ValueError) as error:
        raise BaseModelError(
            f"{hub_id!r} is not on this machine and could not be fetched: {str(error).splitlines()[0][:200]}",
            "Go online, or name a folder that holds the model: cns init --base FOLDER",
            source=hub_id,
        ) from error
    return Path(folder)
