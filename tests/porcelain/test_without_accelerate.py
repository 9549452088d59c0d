"""`accelerate` and `peft` are here for the benchmarks' peers; users have neither, and need neither."""

from __future__ import annotations

import subprocess
import sys

import pytest

HIDDEN = """
import importlib.util, sys
hidden, find_spec = {"accelerate", "peft"}, importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name.split(".")[0] in hidden else find_spec(name, *more)
class Nothing:
    def find_spec(self, name, *more):
        if name.split(".")[0] in hidden:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Nothing())
from cns_cli.main import app
try:
    app(sys.argv[1:], prog_name="cns")
finally:
    assert not hidden & {name.split(".")[0] for name in sys.modules}
"""


@pytest.mark.parametrize(
    "words",
    [
        ["add", "mug", "{photos}", "--class", "cup", "--steps", "2", "--score", "wanda"],
        ["generate", "a <rex> dog", "--steps", "2", "-o", "x.png"],
        ["export", "out"],
    ],
    ids=lambda words: words[0],
)
def test_commands_work_without_them(learned, photos, words):
    line = [word.format(photos=photos["mug"]) for word in words]
    ran = subprocess.run(
        [sys.executable, "-c", HIDDEN, *line], cwd=learned, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
