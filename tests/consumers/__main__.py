"""`nox -s consumers`: exports are read by the programs that pip installs, and what is seen is kept.

Of a tiny base: two concepts, one along directions and one with a mask, in the union of both and alone. Of one of full
size, which is made for stable-diffusion.cpp: one along directions. The first reader is this environment's own; each
folder on the command line holds packages that are found before it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from safetensors.torch import save_file

from cns_cli.porcelain.export import export
from cns_cli.porcelain.generate import generate
from cns_cli.porcelain.import_ import import_concept
from cns_cli.porcelain.init import init_registry
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.options import GenerateOptions, ImportOptions
from cns_cli.progress import NullProgress
from registry.repository import Repository
from tests.consumers import GUIDANCE, SEED, STEPS, by_diffusers, large
from tests.porcelain.conftest import NOON, add, write_photos
from tests.tiny import tiny_sd

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "docs" / "consumers.json"


def main(older: str, sdcpp: str) -> None:
    """Write what each reader sees to `RESULT`."""
    found = [
        *seen(write_exports, ("by_diffusers", None), ("by_diffusers", older), ("by_lycoris", None)),
        *seen(write_large, ("by_sdcpp", sdcpp)),
    ]
    RESULT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def seen(write: Callable[[Path], None], *readers: tuple[str, str | None]) -> Iterator[dict[str, object]]:
    """What each reader, a module and a folder of packages, sees in a folder that is filled for them."""
    with TemporaryDirectory() as folder:
        write(Path(folder))
        for module, packages in readers:
            yield read(module, folder, packages)


def write_exports(folder: Path) -> None:
    """Fill a folder with a tiny base, exports of two concepts, and what must be seen of them."""
    registry = new_registry(folder, tiny_sd(folder / "source"))
    export("HEAD", "diffusers", folder / "base", "fp32", registry)  # as transformers 4 reads it, too
    add(registry, "rex", write_photos(folder / "photos" / "rex", 0), directions=4)
    add(registry, "tom", write_photos(folder / "photos" / "tom", 1), class_noun="cat")
    for kind in ("diffusers", "checkpoint", "embedding", "lycoris"):
        export("HEAD", kind, folder / kind, "fp32", registry)
    said = export("HEAD", "lora", folder / "lora", "fp32", registry, rank=8)
    (folder / "said.json").write_text(json.dumps({"lora": said.error}), encoding="utf-8")
    export("HEAD", "lora", folder / "lora-rex", "fp32", registry, concepts=("rex",))
    session = Session.open(Repository(registry), "cpu")
    concepts = session.concepts(session.repo.tree_of("HEAD"))
    save_file(session.base.model.compose(list(concepts.values())), folder / "all.safetensors")
    save_file(session.base.model.compose([concepts["rex"]]), folder / "rex.safetensors")
    draw(registry, by_diffusers.PROMPT, folder / "ours.png")


def write_large(folder: Path) -> None:
    """Fill a folder with exports of a base of full size, before and after a concept, and with our picture of it."""
    source = large.large_sd(folder / "source")
    registry = new_registry(folder, source)
    export("HEAD", "checkpoint", folder / "base", "fp32", registry)
    file, vectors = large.write_concept(source, folder)
    rex = ImportOptions(start=registry, file=file, name="rex", class_noun="dog", embedding=vectors, time=NOON)
    import_concept(rex, NullProgress())
    for kind in ("checkpoint", "lycoris"):
        export("HEAD", kind, folder / kind, "fp32", registry)
    export("HEAD", "diffusers", folder / "sdcpp", "fp32", registry, program="sdcpp")
    draw(registry, large.PROMPT, folder / "ours.png")
    import_concept(replace(rex, weight=0.5, replace=True), NullProgress())
    draw(registry, large.PROMPT, folder / "half.png")


def new_registry(folder: Path, base: Path) -> Path:
    """A registry whose prompts see all concepts."""
    registry = folder / "registry"
    registry.mkdir()
    init_registry(registry, str(base), author="ann", time=NOON, compose="all")
    return registry


def draw(registry: Path, prompt: str, out: Path) -> None:
    """The picture that readers draw, too."""
    drawn = GenerateOptions(start=registry, prompt=prompt, steps=STEPS, guidance=GUIDANCE, seed=SEED, out=out)
    generate(drawn, NullProgress())


def read(module: str, folder: str, packages: str | None) -> dict[str, object]:
    """What a reader sees, with these packages before those of this environment."""
    path = [str(ROOT)] if packages is None else [packages, str(ROOT)]
    command = [sys.executable, "-m", f"tests.consumers.{module}", folder]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
