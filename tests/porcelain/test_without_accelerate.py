"""`accelerate` and `peft` are here for the benchmarks' peers; users have neither, and need neither."""

from __future__ import annotations

import json
import subprocess
import sys

HIDDEN = """
import importlib.util, json, sys
hidden, find_spec = {"accelerate", "peft"}, importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name.split(".")[0] in hidden else find_spec(name, *more)
class Nothing:
    def find_spec(self, name, *more):
        if name.split(".")[0] in hidden:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Nothing())
from cns_cli.main import app
for line in json.loads(sys.argv[1]):
    try:
        app(line, prog_name="cns")
    except SystemExit as end:
        assert not end.code, line
    assert not hidden & {name.split(".")[0] for name in sys.modules}, line
"""


def test_commands_work_without_them(learned, photos):
    """In one process, since each would load torch."""
    few = ["--class", "cup", "--steps", "2", "--warmup", "2", "--preview", "1", "--score", "wanda"]
    lines = [
        ["generate", "a <rex> dog", "--steps", "2", "-o", "x.png"],
        ["add", "mug", str(photos["mug"]), *few],
        ["export", "out"],
    ]
    words = [sys.executable, "-c", HIDDEN, json.dumps(lines)]
    ran = subprocess.run(words, cwd=learned, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
