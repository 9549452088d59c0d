"""What may import what, and what may not be loaded at start."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import ROOT, modules_after

HEAVY = (
    "torch", "diffusers", "transformers", "mlflow", "pandas", "numpy", "PIL", "sqlite_utils", "rich", "pydantic",
    "jinja2", "tomlkit",
)  # fmt: skip
PACKAGES = ("cns", "registry", "cns_cli")

# Who may import whom. Porcelain is the only place where the method and the memory meet.
ALLOWED = {
    "cns": {"cns"},
    "registry": {"registry"},
    "cns_cli.porcelain": {"cns", "registry", "cns_cli.porcelain", "cns_cli"},
    "cns_cli": {"registry", "cns_cli.porcelain", "cns_cli"},
}
# Errors and articles of English: these modules of the method import the standard library only.
EXCUSED = {
    ("cns_cli.errors", "cns.errors"), ("cns_cli.commands.add", "cns.errors"), ("cns_cli.figures", "cns.templates"),
    ("cns_cli.rayworkers", "cns.errors"),
}  # fmt: skip


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def layer(module: str) -> str:
    return next(
        name for name in sorted(ALLOWED, key=len, reverse=True) if module == name or module.startswith(f"{name}.")
    )


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def uses_of(path: Path) -> set[str]:
    return set(imported(ast.parse(path.read_text(encoding="utf-8"))))


def at_module_level(tree: ast.Module) -> Iterator[ast.stmt]:
    """Statements that run at import: not the bodies of functions, not what is for type checkers."""
    for node in tree.body:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node


@pytest.mark.parametrize("path", [path for package in PACKAGES for path in modules(package)], ids=name_of)
def test_layers_point_one_way(path: Path) -> None:
    me = name_of(path)
    wrong = [
        target
        for target in imported(ast.parse(path.read_text(encoding="utf-8")))
        if target.split(".")[0] in PACKAGES
        and layer(target) not in ALLOWED[layer(me)]
        and not any((me, target[: len(excused)]) == (name, excused) for name, excused in EXCUSED)
    ]
    assert not wrong, f"{me} must not import {wrong}; allowed: {sorted(ALLOWED[layer(me)])}"


@pytest.mark.parametrize("path", modules("registry"), ids=name_of)
def test_registry_knows_no_tensor(path: Path) -> None:
    roots = {name.split(".")[0] for name in imported(ast.parse(path.read_text(encoding="utf-8")))}
    assert not roots & {"torch", "numpy", "safetensors", "diffusers", "transformers"}
    if path.parent.name != "mirror":
        assert "mlflow" not in roots


@pytest.mark.parametrize("path", [path for package in ("cns", "cns_cli") for path in modules(package)], ids=name_of)
def test_mlflow_is_imported_by_the_mirror_and_by_what_mlflow_imports(path: Path) -> None:
    """Rule 4. `cns_cli.pyfunc` extends a class of MLflow, and nothing of ours imports it."""
    used = uses_of(path)
    assert "mlflow" not in {name.split(".")[0] for name in used} or name_of(path) == "cns_cli.pyfunc"
    assert "cns_cli.pyfunc" not in used


PORCELAIN = "cns_cli.porcelain"
SAID = {f"{PORCELAIN}.{name}" for name in ("options", "answers", "result", "metrics")}
DOORS = [path for path in sorted((ROOT / "cns_cli" / "porcelain").glob("*.py")) if path.stem != "__init__"]
ROOMS = [
    path
    for package in ("cns_cli/porcelain", "registry", "cns")
    for path in modules(package)
    if path.parent != ROOT / package and path.name != "__init__.py"
]


def test_a_door_is_light() -> None:
    """Rule 1: whatever can be refused is refused before torch is imported; importing all doors loads none of these."""
    code = f"import sys, {', '.join(name_of(path) for path in DOORS)}; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not {name.split(".")[0] for name in done.stdout.split()} & {"torch", "diffusers", "transformers", "mlflow"}


def test_no_room_imports_a_door() -> None:
    """Rule 2: what verbs are made of stands in rooms, which know each other and what is said through a door."""
    doors = {name_of(door) for door in DOORS} - SAID
    assert not {name_of(room): used for room in ROOMS if (used := doors & uses_of(room))}


def test_rooms_stand_on_each_other() -> None:
    """Rule 2: a room may import the rooms below it, so there is a ground floor and no circle."""
    below: dict[str, set[str]] = {}
    for path in (room for room in ROOMS if name_of(room).startswith(PORCELAIN)):
        rooms = {name.split(".")[2] for name in uses_of(path) if name.startswith(f"{PORCELAIN}.") and name not in SAID}
        below.setdefault(path.parent.name, set()).update(rooms - {path.parent.name})
    order = graphlib.TopologicalSorter(below)
    order.prepare()  # which raises on a circle
    assert "models" in order.get_ready()


@pytest.mark.parametrize("path", sorted({room.parent for room in ROOMS}), ids=name_of)
def test_a_room_opens_with_its_docstring_alone(path: Path) -> None:
    """Rule 3: what a room knows and does not know; names are imported from the module that defines them."""
    tree = ast.parse((path / "__init__.py").read_text(encoding="utf-8"))
    assert len(tree.body) == 1
    assert "Does not know" in (ast.get_docstring(tree) or "")


def test_a_name_does_not_repeat_its_room() -> None:
    """Rule 4: `reporting/scores.py`."""
    assert not [path for path in ROOMS if path.stem.startswith(f"{path.parent.name}_")]


@pytest.mark.parametrize("path", modules("cns_cli/commands"), ids=name_of)
def test_commands_import_porcelain_inside_their_body(path: Path) -> None:
    light = {"cns_cli.porcelain.metrics", "cns_cli.porcelain.options", "cns_cli.porcelain.result"}
    statements = at_module_level(ast.parse(path.read_text(encoding="utf-8")))
    early = {s.module for s in statements if isinstance(s, ast.ImportFrom) and s.module and "porcelain" in s.module}
    assert early <= light


def test_only_settings_reads_the_environment() -> None:
    readers = {
        name_of(path)
        for package in PACKAGES
        for path in modules(package)
        if "os.environ" in (text := path.read_text(encoding="utf-8")) or "getenv(" in text
    }
    # MLflow reads its own variables at import: what talks to it sets them, to keep it quiet.
    assert readers <= {"cns_cli.settings", "registry.mirror.interface", "registry.mirror.server"}


def test_starting_loads_nothing_heavy() -> None:
    assert not modules_after(["--version"], ROOT) & set(HEAVY)


@pytest.mark.parametrize(
    "words",
    [["log", "-n", "20"], ["status"], ["show"], ["branch"], ["tag"], ["checkout", "main"], ["--help"]],
)
def test_reading_history_loads_nothing_heavy(words: list[str], lineage: object, tmp_path: Path) -> None:
    assert not modules_after(words, tmp_path) & set(HEAVY)


@pytest.mark.parametrize("verb", ["add", "generate", "check", "export", "mlflow", "promote", "rm", "init", "ui"])
def test_help_loads_nothing_heavy(verb: str) -> None:
    assert not modules_after([verb, "--help"], ROOT) & (set(HEAVY) - {"pydantic"})


@pytest.mark.parametrize(
    ("words", "code"), [(["add", "rex", "nowhere"], 2), (["check", "--device", "gpu"], 2), (["nonsense"], 2)]
)
def test_a_bad_argument_loads_nothing_heavy(words: list[str], code: int, lineage: object, tmp_path: Path) -> None:
    assert not modules_after(words, tmp_path, code) & (set(HEAVY) - {"pydantic"})


@pytest.mark.parametrize(
    "words",
    [
        ["generate", "a dog", "--at", "nope"],
        ["check", "nope"],
        ["check", "--concept", "nope"],
        ["export", "x", "--at", "nope"],
        ["export", "x", "--format", "nope"],
    ],
)
def test_an_unknown_revision_or_concept_is_refused_before_torch(
    words: list[str], lineage: object, cns: Any, tmp_path: Path
) -> None:
    assert not modules_after(words, tmp_path, 4) & {"torch", "diffusers", "transformers"}
    result = cns(*words)
    assert result.exit_code == 4
    assert "nope" in result.stderr


def test_an_export_onto_a_folder_in_use_is_refused_before_torch(lineage: object, tmp_path: Path) -> None:
    assert not modules_after(["export", "."], tmp_path, 4) & {"torch", "diffusers", "transformers"}


@pytest.mark.skipif(sys.platform == "darwin", reason="a Mac has it")
@pytest.mark.parametrize("words", [["generate", "a dog"], ["check"], ["report"], ["add", "rex", "."]])
def test_a_device_that_is_not_there_is_refused_before_torch(
    words: list[str], lineage: object, cns: Any, tmp_path: Path
) -> None:
    words = [*words, "--device", "mps"]
    assert not modules_after(words, tmp_path, 2) & {"torch", "diffusers", "transformers"}
    assert "this machine has no mps" in cns(*words).stderr
