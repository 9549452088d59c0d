"""The promises of the repository as such: what the wheel ships, what is pinned, what the pages may name."""

from __future__ import annotations

import itertools
import json
import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import typer.main

from cns_cli.main import app
from docs.generate import broken_links, pages
from docs.tour import masked

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
_COMMAND = re.compile(r"^(?:\$ )?(cns [a-z-].*)$", re.MULTILINE)
LINES_A_SCREEN = 50
MAX_WHEEL_BYTES = 60_000_000  # the embedded base is at most 48 MB of it


def test_the_readme_keeps_five_screens() -> None:
    text = re.sub(r"<!-- .*?-->\n", "", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    picture = 17  # lines of the tour's picture, 816 by 396 pixels
    assert text.count("\n") + picture <= 5 * LINES_A_SCREEN


def test_wheel_ships_the_packages_the_base_and_nothing_else(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"cns", "registry", "cns_cli"}
    base = {name.removeprefix("cns/bases/emoji-64-v1/") for name in names if name.startswith("cns/bases/emoji-64-v1/")}
    assert {"model_index.json", "unet/diffusion_pytorch_model.safetensors", "clip/model.safetensors"} <= base
    assert {name for name in names if name.startswith("cns/calibration/")} >= {"cns/calibration/sd.json"}
    report = {name.rpartition("/")[2] for name in names if name.startswith("cns_cli/porcelain/reporting/")}
    assert {"page.html.jinja", "tables.html.jinja", "drawing.html.jinja", "page.css"} <= report
    assert not [name for name in names if "__pycache__" in name]
    assert wheel.stat().st_size <= MAX_WHEEL_BYTES


def test_everything_that_is_installed_here_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {_normal(line.split("==")[0]) for line in lines if "==" in line}
    groups = [line for group in PYPROJECT["dependency-groups"].values() for line in group]
    extras = [line for lines in PYPROJECT["project"]["optional-dependencies"].values() for line in lines]
    lines = [*PYPROJECT["project"]["dependencies"], *extras, *groups]
    wanted = {_normal(re.split(r"[<>=\[]", line)[0]) for line in lines}
    assert wanted <= pinned


def test_users_are_bound_from_below_only() -> None:
    bound = re.compile(r"[a-z0-9-]+>=[\d.]+")
    assert [line for line in PYPROJECT["project"]["dependencies"] if not bound.fullmatch(line)] == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def _normal(name: str) -> str:
    return name.strip().lower().replace("_", "-")


def _typed_commands() -> list[str]:
    """Every `cns …` line that a page tells people to type."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages())
    return sorted({match[1].split("  #")[0].split(" ||")[0].split(" > ")[0] for match in _COMMAND.finditer(text)})


@pytest.mark.parametrize("line", _typed_commands())
def test_commands_in_the_pages_exist_with_these_options(line: str) -> None:
    words, group = shlex.split(line)[1:], typer.main.get_command(app)
    path = []
    while words and words[0] in getattr(group, "commands", {}):
        path.append(words.pop(0))
        group = group.commands[path[-1]]  # type: ignore[attr-defined]
    assert path or line.startswith("cns --"), f"no command in: {line}"
    known = {name for parameter in group.params for name in [*parameter.opts, *parameter.secondary_opts]}
    if not group.context_settings.get("allow_interspersed_args", True):  # behind the first word another program's begin
        words = list(itertools.takewhile(lambda word: word.startswith("-"), words))
    assert {word.split("=")[0] for word in words if re.fullmatch(r"--?[a-z][a-z-]*(=.*)?", word)} <= known | {"--help"}


def test_mask_hides_what_differs_between_machines() -> None:
    one = "commit  3f2a9b1 on main\nidentity  0.58 -> 0.79   12 kB  2026-11-24 10:53"
    other = "commit  0a1b2c3d on main\nidentity  0.6 -> 0.801  1.2 MB  2027-01-02 03:04:05"
    assert masked(one) == masked(other)


@pytest.mark.parametrize("changed", ["commit ID on other", "commit 3f2a9b1 at main", "forgot 3f2a9b1 on main"])
def test_mask_keeps_every_word(changed: str) -> None:
    assert masked("commit 3f2a9b1 on main") != masked(changed)


def test_the_first_screen_of_the_readme_says_what_the_embedded_base_draws() -> None:
    first = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split("## ")[0].split())
    nouns = json.loads((ROOT / "cns/bases/emoji-64-v1/nouns.json").read_text(encoding="utf-8"))["nouns"]
    said = re.search(r"It draws (\d+) kinds of things \(\[(.*) …\]\(\S+\)\), and no photographs", first)
    assert said is not None
    assert int(said[1]) == len(nouns)
    assert set(said[2].split(", ")) <= {one["noun"] for one in nouns}
