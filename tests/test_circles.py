"""Modules import each other in one direction: no circle in the whole repository, not even of what types alone need."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("cns", "registry", "cns_cli", "benchmarks", "base_model", "docs", "tests")


def sources() -> dict[str, str]:
    """Module -> its source."""
    paths = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path.read_text("utf-8")
        for path in paths
    }


def outside_functions(statements: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Everything that runs at import, and what is for type checkers."""
    for node in statements:
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield node
            yield from outside_functions(ast.iter_child_nodes(node))


def graph(modules: Mapping[str, str]) -> dict[str, set[str]]:
    """Module -> the modules among these that it imports at module level."""
    found: dict[str, set[str]] = {}
    for module, source in modules.items():
        named: set[str] = set()
        for node in outside_functions(ast.parse(source).body):
            if isinstance(node, ast.Import):
                named |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):  # from a module, or from a package one of whose modules is named
                named |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
        found[module] = named & modules.keys()
    return found


def circle(modules: Mapping[str, str]) -> list[str]:
    """One circle of imports, its first module again at the end; empty where there is none."""
    try:
        TopologicalSorter(graph(modules)).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def test_no_modules_import_each_other_in_a_circle() -> None:
    found = circle(sources())
    assert not found, " imports ".join(found)


@pytest.mark.parametrize(
    "back", ["import a", "from a import A", "if TYPE_CHECKING:\n    from a import A", "class C:\n    import a"]
)
def test_a_circle_is_found(back: str) -> None:
    modules = {"a": "from p import b", "p": "", "p.b": "import c", "c": back}
    assert set(circle(modules)) == {"a", "p.b", "c"}
    assert not circle({**modules, "c": "def later():\n    import a"})
