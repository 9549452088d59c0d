"""Documents of the commands that need a model: each follows the schema that `cns schema` prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import run
from tests.cli.documents import command_of, follow_schema
from tests.cli.test_schema import ELSEWHERE
from tests.porcelain.test_import import write_lora

MUG = "add mug {photos} --class cup --steps 1 --warmup 1 --score wanda"
LINES = (
    "-C new init --base {base}",
    f"{MUG} --dry-run",
    MUG,
    "import {lora} cup --class cup --dry-run",
    "import {lora} cup --class cup",
    "generate {prompt} --steps 1 -o one.png",
    "show one.png",
    "generate --prompts many.txt --steps 1 -n 1",
    "show rex --neurons",
    "show rex --provenance",
    "check --images 1 --max-drop 2",
    "check --fast",
    "report",
    "export out",
    "verify mug",
    "erase dog",
    "mlflow sync",
    "mlflow restore",
)


def test_every_command_that_needs_a_model_is_here() -> None:
    assert {command_of(line.split()) for line in LINES} == ELSEWHERE | {"show"}


def test_every_document_of_a_model_follows_its_schema(
    learned: Path, tiny_base: Path, photos: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(learned)
    (learned / "many.txt").write_text("a <rex> dog\na <tom> cat --s 1 --w 64\n")
    (learned / "new").mkdir()
    filled = {"{base}": str(tiny_base), "{photos}": str(photos["mug"]), "{prompt}": "a <rex> dog in the snow"}
    filled["{lora}"] = str(write_lora(tiny_base, learned / "lora.safetensors"))
    for line in LINES:
        words = [filled.get(word, word) for word in line.split()]
        result = run(*words, "--json")
        assert follow_schema(words, result) == command_of(words), result.output
