"""The generated parts of the pages in docs/: each function returns Markdown that cog writes between its markers.

What a table here says comes from the code (`SCORES`, `FAMILIES`, the Typer app, pyproject.toml) or from the JSON of a
measurement, never from a hand. A name that no longer exists makes the generator fail, and `nox -s docs` with it.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import json
import re
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cns_cli.shapes import attribute_docs

ROOT = Path(__file__).resolve().parent.parent

# Why each run-time dependency is there; a dependency of pyproject.toml without a line here fails the docs session.
REASONS = {
    "diffusers": "The pipelines, UNets, VAEs and samplers that bases are made of. 0.42.1 is a security release.",
    "filelock": "Kernel locks on the registry: a process that is killed leaves none behind.",
    "fsspec": "Remotes at `s3://…`, `hf://…` and other addresses; huggingface-hub brings it, too.",
    "huggingface-hub": "Fetches a base that is named by hub id, safetensors files only.",
    "jinja2": "The page of `cns report`; torch and MLflow bring it, too.",
    "mlflow": "Every commit is recorded there; imported only when one is.",
    "numpy": "Integer grid, masks and metrics.",
    "pillow": "Reads photos, writes pictures.",
    "psutil": "How much memory is free, on every system; diffusers' own helpers bring it, too.",
    "rich": "Tables and live progress in a terminal.",
    "safetensors": "The container of weights, masks and deltas: nothing is ever unpickled.",
    "sqlite-utils": "Schema, migrations and writes of the registry's index.",
    "tomlkit": "Sets a key of `config.toml` and leaves comments and order as they are; imported only when one is set.",
    "torch": "Training and generation.",
    "transformers": "CLIP's text and image encoders and tokenizer.",
    "typer": "The command line.",
    "zstandard": "Compression of stored objects.",
}


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table; cells are escaped for it."""
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def summary(thing: Any) -> str:
    """Return the first sentence of a docstring."""
    return (inspect.getdoc(thing) or "").split("\n\n")[0].replace("\n", " ")


def find(dotted: str) -> Any:
    """Return the object with this dotted name, or fail: docs may name only what exists."""
    parts = dotted.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(dotted)


def code(dotted: str) -> str:
    """Return a link to the file that defines a dotted name."""
    file = Path(inspect.getsourcefile(find(dotted)) or "").relative_to(ROOT)
    return f"[`{dotted}`](../{file})"


def functions(*rows: tuple[str, str, str], last: str = "whose") -> str:
    """Return the table equation -> function -> whose it is, or what `last` says; every function must exist."""
    return table(
        ["what", "where", last],
        [(what, " ".join(code(name) for name in names.split()), whose) for what, names, whose in rows],
    )


def choices(dotted: str) -> str:
    """Return a table of a registry of choices (`SCORES`, `REGULARIZERS`, …): its keys and what they are."""
    return table(["name", "what it is"], [(f"`{key}`", summary(value)) for key, value in find(dotted).items()])


def architectures() -> str:
    """Return which lines of models there are, whether they could hold concepts, and whether they are supported."""
    taken = find("cns.files.pipelines.PIPELINES")
    rows = []
    for one in find("cns.files.architectures.ARCHITECTURES"):
        supported = any(f"{name}Pipeline" in taken for name in one.pipelines)
        state = "**supported**" if supported else "not yet" if one.static else "cannot"
        alone = "; ".join(filter(None, ["yes" if one.static else "no", one.notes]))
        rows.append((one.models, one.matrices, one.weights, alone, one.budget, state))
    return table(
        ["base", "K/V matrices", "weights, share of the denoiser", "read the text alone", "0.13 %", "cns"], rows
    )


OF_DIRECTIONS = ("directions", "direction_lr")
"""Fields of a family that are defaults, too, but of what a mask has none."""


def families() -> str:
    """Return the defaults of every base family, one column a family."""
    known = find("cns.families.FAMILIES")
    fields = [field.name for field in dataclasses.fields(find("cns.families.Defaults"))]
    rows = [(f"`{name}`", *(_value(getattr(family.defaults, name)) for family in known.values())) for name in fields]
    rows += [(f"`{name}`", *(_value(getattr(one, name)) for one in known.values())) for name in OF_DIRECTIONS]
    heads = [f"`{family.name}`: {family.describe}" for family in known.values()]
    return table(["setting", *heads], rows)


def rooms(*packages: str) -> str:
    """Return the sub-packages of some packages: files, what each knows and does not know, as its docstring says."""
    rows = []
    for package in packages:
        for room in sorted(folder for folder in (ROOT / package).iterdir() if (folder / "__init__.py").exists()):
            about, told = (inspect.getdoc(find(".".join(room.relative_to(ROOT).parts))) or "").split("\n\n", 1)
            knows, _, blind = told.replace("\n", " ").partition("Does not know")
            files = ", ".join(
                file.name for file in sorted(room.iterdir()) if file.is_file() and file.stem != "__init__"
            )
            name = f"[`{room.relative_to(ROOT)}/`](../{room.relative_to(ROOT)}/)"
            rows.append((name, about.replace("\n", " "), files, _after(knows, "Knows"), _after(blind, "")))
    return table(["room", "what it is", "files", "knows", "does not know"], rows)


def _after(text: str, word: str) -> str:
    return text.strip().removeprefix(word).strip().rstrip(".")


def source(file: str, first: str, last: str = "") -> str:
    """Return the lines of a file from the one that begins with `first` up to the one that begins with `last`."""
    text = (ROOT / file).read_text(encoding="utf-8")
    begin = text.index(f"\n{first}") + 1
    end = text.index(f"\n{last}", begin) if last else len(text)
    return f"```{file.rpartition('.')[2].replace('py', 'python')}\n{text[begin:end].strip()}\n```\n"


def attributes(*dotted: str) -> str:
    """Return the fields of options and results: type, default, and the docstring's words on them."""
    parts = []
    for name in dotted:
        kind = find(name)
        said = attribute_docs(kind)
        rows = [
            (f"`{field.name}`", f"`{_type(field)}`", _default(field), said.get(field.name, ""))
            for field in dataclasses.fields(kind)
        ]
        parts.append(f"#### `{kind.__name__}`\n\n{summary(kind)}\n\n" + table(["field", "type", "default", ""], rows))
    return "\n".join(parts)


def signatures(*dotted: str) -> str:
    """Return the signature and first sentence of public functions, one paragraph each."""
    parts = []
    for name in dotted:
        module, _, function = name.rpartition(".")
        code_block = f"from {module} import {function}\n\n{function}{_signature(find(name))}"
        parts.append(f"```python\n{code_block}\n```\n\n{summary(find(name))}\n")
    return "\n".join(parts)


def dependencies() -> str:
    """Return every run-time dependency of pyproject.toml with its bound and its reason."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    names = [re.split(r"[<>=~!]", line, maxsplit=1)[0] for line in sorted(wanted)]
    return table(
        ["package", "bound", "why"],
        [
            (name, f"`{line.removeprefix(name)}`", REASONS[name])
            for name, line in zip(names, sorted(wanted), strict=True)
        ],
    )


def commands() -> str:
    """Return the help of `cns` and of each of its commands, as the terminal prints it."""
    import typer.main
    from typer.testing import CliRunner

    app = importlib.import_module("cns_cli.main").app
    runner = CliRunner(env={"COLUMNS": "100", "NO_COLOR": "1", "TERMINAL_WIDTH": "100"})
    parts = []
    for words in _command_words(typer.main.get_command(app)):
        shown = runner.invoke(app, [*words, "--help"], prog_name="cns", terminal_width=100)
        if shown.exit_code:
            raise SystemExit(f"`cns {' '.join(words)} --help` ended with {shown.exit_code}: {shown.output}")
        text = "\n".join(line.rstrip() for line in shown.output.strip().splitlines())
        parts.append(f"## {' '.join(['cns', *words])}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def answers() -> str:
    """Return the table of what commands answer with: command, schema, and the first sentence of each answer."""
    from cns_cli.porcelain import schema

    rows = []
    for command, name in schema.names().items():
        found = schema.schema(command.split())
        shapes = [one.get("items", one) for one in found.get("anyOf", [found])]
        named = [found.get("$defs", {}).get(one.get("$ref", "").rpartition("/")[2], one) for one in shapes]
        said = dict.fromkeys(one.get("description", "").partition(". ")[0].rstrip(".:") for one in named)
        rows.append((f"`{command}`", f"`{name}`", "; ".join(word for word in said if word)))
    return table(["command", "schema", "answer"], rows)


def measured(name: str) -> str:
    """Return the tables of docs/benchmarks/NAME.json, with the commands and the machine that they came from."""
    file = ROOT / "docs" / "benchmarks" / f"{name}.json"
    if not file.exists():
        return f"*Not measured yet: `nox -s bench -- {name}`.*\n"
    report = json.loads(file.read_text(encoding="utf-8"))
    parts = []
    for part in report["tables"]:
        parts.append(f"**{part['title']}**\n\n" + table(part["columns"], part["rows"]))
        if part.get("note"):
            parts.append(part["note"] + "\n")
    if report.get("commands"):
        parts.append("Commands:\n\n```console\n" + "\n".join(f"$ {line}" for line in report["commands"]) + "\n```\n")
    parts.append(f"<sub>`nox -s bench -- {name}`; table made on {report['machine']}, {report['date']}.</sub>\n")
    return "\n".join(parts)


def bars(*chosen: str) -> str:
    """Return these rows of docs/benchmarks/summary.json, and every one whose bar was missed."""
    report = json.loads((ROOT / "docs" / "benchmarks" / "summary.json").read_text(encoding="utf-8"))
    found = report["tables"][0]
    if unknown := set(chosen) - {row[0] for row in found["rows"]}:
        raise SystemExit(f"docs/benchmarks/summary.json has no row {', '.join(sorted(unknown))}")
    shown = table(found["columns"], [row for row in found["rows"] if row[0] in chosen or "missed" in row[-1]])
    return f"{shown}\n<sub>Measured on {report['machine']}, {report['date']}.</sub>\n"


def consumers() -> str:
    """Return what each reader saw of each format, of docs/consumers.json, as `nox -s consumers` wrote it."""
    found = json.loads((ROOT / "docs" / "consumers.json").read_text(encoding="utf-8"))
    names = [", ".join(f"{name} {version}" for name, version in one["versions"].items()) for one in found]
    rows = ([kind, *(one["seen"].get(kind, "–") for one in found)] for kind in found[0]["seen"])
    return table(("format", *names), rows)


def torture() -> str:
    """Return what the last runs of `nox -s torture` tried and lost, one row a goal."""
    goals = json.loads((ROOT / "docs" / "benchmarks" / "torture.json").read_text(encoding="utf-8"))
    rows = []
    for goal, found in goals.items():
        sums = {key: sum(trial[key] for trial in found["trials"]) for key in ("tried", "lost", "corrupt", "seconds")}
        counts = [f"{sums[key]:,}" for key in ("tried", "lost", "corrupt")]
        rows.append((goal, found["size"], *counts, f"{sums['seconds'] / 60:.1f}"))
    return table(["goal", "size", "tried", "lost", "corrupt or against the rules", "minutes"], rows)


def _command_words(command: Any, words: tuple[str, ...] = ()) -> Iterable[tuple[str, ...]]:
    """Yield the words of a command and of all commands below it: (), ("init",), …, ("mlflow", "sync")."""
    yield words
    for name, below in getattr(command, "commands", {}).items():
        yield from _command_words(below, (*words, name))


class _Bare(str):
    """Text that prints without quotes: annotations are strings here, and some defaults have no printable form."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _signature(function: Any) -> str:
    """Return a signature as it is written in the source, one parameter a line when it is long."""
    signature = inspect.signature(function)
    parts = []
    for parameter in signature.parameters.values():
        without = _Bare("…") if callable(parameter.default) else _Bare(repr(parameter.default))
        default = parameter.empty if parameter.default is parameter.empty else without
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in parts:
            parts.append("*")
        parts.append(str(parameter.replace(annotation=_Bare(parameter.annotation), default=default)))
    returned = f" -> {signature.return_annotation}"
    line = f"({', '.join(parts)}){returned}"
    return line if len(line) < 80 else "(\n    " + ",\n    ".join(parts) + f",\n){returned}"


def _value(value: object) -> str:
    return "—" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _type(field: dataclasses.Field[Any]) -> str:
    """Return a field's annotation as it is written, without what `Annotated` adds for the command line."""
    written = ast.parse(field.type, mode="eval").body
    if isinstance(written, ast.Subscript) and ast.unparse(written.value) == "Annotated":
        return ast.unparse(written.slice.elts[0])
    return field.type


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return f"`{field.default!r}`" if not isinstance(field.default, Path) else f"`{str(field.default)!r}`"
    return "required" if field.default_factory is dataclasses.MISSING else "empty"
