"""Answering from what is stored: neither torch nor the base, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from cns_cli.porcelain.check import check
from cns_cli.porcelain.options import CheckOptions
from tests.cli.conftest import ROOT
from tests.steps import FEW_STEPS

HEAVY = {"torch", "diffusers", "transformers", "safetensors", "mlflow", "PIL"}
CODE = """
import sys, json
sys.path.insert(0, {root!r})
sys.argv[1:] = {words!r}
from cns_cli import main
try:
    main.main()
except SystemExit as told:
    code = told.code
print(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})), file=sys.stderr)
sys.exit(code)
"""


def shell(folder: Path, *words: str) -> tuple[int, str, set[str]]:
    """Exit code, standard output and loaded packages of one command line."""
    code = CODE.format(root=str(ROOT), words=list(words))
    program, environment = [sys.executable, "-c", code], {**os.environ, **FEW_STEPS}
    done = subprocess.run(program, capture_output=True, text=True, cwd=folder, check=False, env=environment)
    return done.returncode, done.stdout, set(json.loads(done.stderr.splitlines()[-1]))


def test_a_second_check_loads_neither_torch_nor_diffusers(learned):
    first = check(CheckOptions(start=learned, images=1, max_drop={"": 2.0}))
    code, said, loaded = shell(learned, "check", "--images", "1", "--max-drop", "2", "--json")
    assert code == 0, said
    assert not loaded & HEAVY
    again = json.loads(said)
    assert again["images_made"] == 0
    assert again["protocol"] == first.protocol
    assert [row["metrics"][0]["now"] for row in again["rows"]] == [row.metrics[0].now for row in first.rows]


def test_a_check_that_fails_from_what_is_stored_says_so_without_torch(learned):
    check(CheckOptions(start=learned, images=1, concepts=("rex",), max_drop={"": 2.0}))
    words = ("check", "--images", "1", "--concept", "rex", "--max-drop", "2", "--min", "id=0.999")
    code, said, loaded = shell(learned, *words)
    assert code == 3
    assert "not kept: rex" in said
    assert not loaded & HEAVY
    assert shell(learned, *words, "--bisect")[0] == 3


def test_bisecting_skips_what_cannot_be_told(learned):
    assert shell(learned, "check", "--bisect", "--concept", "nobody")[0] == 125
    assert shell(learned, "check", "--bisect", "--max-drop", "x=1")[0] == 125
    assert shell(learned, "check", "--concept", "nobody")[0] == 4
