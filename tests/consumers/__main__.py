"""`nox -s consumers`: exports of a tiny base are read by the programs that pip installs, and what is seen is kept.

Two concepts, one along directions and one with a mask, in the union of both and alone. The first reader is this
environment's own; each folder that is named on the command line holds packages that are found before it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from safetensors.torch import save_file

from cns_cli.porcelain.export import export
from cns_cli.porcelain.generate import generate
from cns_cli.porcelain.init import init_registry
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.options import GenerateOptions
from cns_cli.progress import NullProgress
from registry.repository import Repository
from tests.consumers.reader import GUIDANCE, PROMPT, SEED, STEPS
from tests.porcelain.conftest import NOON, add, write_photos
from tests.tiny import tiny_sd

RESULT = Path(__file__).parents[2] / "docs" / "consumers.json"


def main(surroundings: list[str]) -> None:
    """Write what each reader sees to `RESULT`."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_exports(folder)
        found = [read(folder, packages) for packages in (None, *surroundings)]
    RESULT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def write_exports(folder: Path) -> None:
    """Fill a folder with a base, exports of two concepts, and what must be seen of them."""
    registry = folder / "registry"
    registry.mkdir()
    init_registry(registry, str(tiny_sd(folder / "source")), author="ann", time=NOON, compose="all")
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
    drawn = {"steps": STEPS, "guidance": GUIDANCE, "seed": SEED, "out": folder / "ours.png"}
    generate(GenerateOptions(start=registry, prompt=PROMPT, **drawn), NullProgress())


def read(folder: Path, packages: str | None) -> dict[str, object]:
    """What a reader sees, with these packages before those of this environment."""
    path = [] if packages is None else [packages]
    command = [sys.executable, str(Path(__file__).with_name("reader.py")), str(folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
