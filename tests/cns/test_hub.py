"""Bases on a hub of this machine: fp16 where there is no other, and the commit that was fetched (issue 18)."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cns.files.bases import pinned, resolve_base
from cns.files.models import weight_files

STEMS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
COMMIT = "0" * 39 + "1"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder whose folders are repositories "acme/NAME" of a hub, and the environment of its clients."""
    place = tmp_path / "repositories"
    place.mkdir()

    class Hub(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = self.path.partition("?")[0].strip("/").split("/")
            if parts[:2] == ["api", "models"]:
                self.answer(json.dumps(listed(place / parts[3], "tree" in parts)).encode(), {})
                return
            file = place / parts[1] / "/".join(parts[4:])
            if not file.is_file():
                self.answer(b"", {"X-Error-Code": "EntryNotFound"}, 404)
                return
            data = file.read_bytes()
            self.answer(data, {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": COMMIT})

        do_HEAD = do_GET  # noqa: N815

        def answer(self, body: bytes, headers: dict[str, str], code: int = 200) -> None:
            self.send_response(code)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    home = tmp_path / "hf"
    yield place, {
        **os.environ, "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "0", "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    server.shutdown()
    server.server_close()


def listed(place: Path, as_tree: bool) -> object:
    files = [path for path in sorted(place.rglob("*")) if path.is_file()]
    names = [str(path.relative_to(place)) for path in files]
    if as_tree:
        pairs = zip(names, files, strict=True)
        return [{"type": "file", "path": name, "size": path.stat().st_size, "oid": "0"} for name, path in pairs]
    return {"id": f"acme/{place.name}", "sha": COMMIT, "siblings": [{"rfilename": name} for name in names]}


def repository(place: Path, suffix: str) -> None:
    for part, stem in (
        ("unet", "diffusion_pytorch_model"),
        ("vae", "diffusion_pytorch_model"),
        ("text_encoder", "model"),
    ):
        (place / part).mkdir(parents=True)
        (place / part / "config.json").write_text("{}")
        save_file({"a": torch.ones(1)}, place / part / f"{stem}{suffix}.safetensors")
    (place / "scheduler").mkdir()
    (place / "scheduler" / "scheduler_config.json").write_text("{}")
    parts = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL", "text_encoder": "CLIPTextModel"}
    parts |= {"tokenizer": "CLIPTokenizer", "scheduler": "DDIMScheduler"}
    index = {"_class_name": "StableDiffusionPipeline"} | {part: ["library", name] for part, name in parts.items()}
    (place / "model_index.json").write_text(json.dumps(index))


def asked(source: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """What another process, whose hub is ours, makes of a source."""
    program = f"from cns.files.bases import resolve_base; print(resolve_base({source!r}))"
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)


def resolved(source: str, environment: dict[str, str]) -> Path:
    done = asked(source, environment)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def test_half_precision_is_fetched_where_there_is_no_other(hub: tuple[Path, dict[str, str]]) -> None:
    place, environment = hub
    repository(place / "half", ".fp16")
    repository(place / "both", "")
    repository(place / "both" / "other", ".fp16")
    for part in STEMS:
        for file in (place / "both" / "other" / part).glob("*.fp16.safetensors"):
            file.rename(place / "both" / part / file.name)
    folder = resolved("acme/half", environment)
    for part in STEMS:
        assert ".fp16." in weight_files(folder, part)[0].name
    assert not list(resolved("acme/both", environment).glob("*/*.fp16.safetensors"))


def test_of_what_is_not_supported_no_weights_are_fetched(hub: tuple[Path, dict[str, str]]) -> None:
    place, environment = hub
    repository(place / "flux", "")
    index = json.loads((place / "flux" / "model_index.json").read_text())
    (place / "flux" / "model_index.json").write_text(json.dumps({**index, "_class_name": "FluxPipeline"}))
    (place / "lora").mkdir()
    save_file({"a": torch.ones(1)}, place / "lora" / "lora.safetensors")
    for name, words in (("flux", "FluxPipeline cannot hold concepts"), ("lora", "acme/lora is no diffusers pipeline")):
        assert words in asked(f"acme/{name}", environment).stderr
    assert not list(Path(environment["HF_HOME"]).rglob("*.safetensors"))


def test_the_commit_that_was_fetched_is_found_when_main_has_moved(hub: tuple[Path, dict[str, str]]) -> None:
    place, environment = hub
    repository(place / "full", "")
    folder = resolved("acme/full", environment)
    source = pinned("acme/full", folder)
    assert source == f"acme/full@{COMMIT}"
    (folder.parents[1] / "refs" / "main").write_text("2" * 40)  # another program fetched one file of a newer revision
    (folder.parent / ("2" * 40)).mkdir()
    cache = folder.parents[2]
    assert resolve_base(source, cache_folder=cache, local_files_only=True) == folder
    folder.rename(folder.parent / ("3" * 40))
    (folder.parents[1] / "refs" / "main").write_text("3" * 40)
    assert resolve_base(source, cache_folder=cache, local_files_only=True) == folder.parent / ("3" * 40)


@pytest.mark.parametrize("source", ["emoji-64", "/models/sd", "acme/full@v1"])
def test_only_what_a_hub_gave_is_pinned(source: str, tmp_path: Path) -> None:
    assert pinned(source, tmp_path) == source
