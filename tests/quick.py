"""`cns` in few steps: what a page tells people to type, at a size for tests.

Every family trains and draws in few steps, also where a line asks for more (`--steps 80`), and judges one image of a
prompt; nothing else differs. As a plugin of pytest (`PYTEST_PLUGINS`) the module does the same to the check of a page.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from typer.testing import CliRunner

from cns.families import FAMILIES
from cns_cli.main import app

FEW = 3


def take_few_steps() -> None:
    """Let every family of this process warm up, train and sample in few steps."""
    for name, family in FAMILIES.items():
        each = {"check_images": 1, "preview": len(family.objects.judge)}
        few = replace(family.defaults, warmup_steps=FEW, steps=FEW, sampler_steps=FEW, **each)
        FAMILIES[name] = replace(family, defaults=few)


pytest_configure = take_few_steps


@contextmanager
def few_steps() -> Iterator[None]:
    """Within the block every family takes few steps."""
    before = dict(FAMILIES)
    take_few_steps()
    try:
        yield
    finally:
        FAMILIES.update(before)


def cns(words: Sequence[str], folder: Path) -> tuple[int, str]:
    """Run one command line in this process; return its exit code and stdout."""
    asked = [str(FEW + 1) if before == "--steps" else word for before, word in zip(["", *words], words, strict=False)]
    back = Path.cwd()
    os.chdir(folder)
    try:
        done = CliRunner(env={"COLUMNS": "100"}).invoke(app, asked, prog_name="cns")
    finally:
        os.chdir(back)
    return done.exit_code, done.stdout if not done.exit_code else done.output
