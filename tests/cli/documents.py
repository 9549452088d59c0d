"""JSON documents that tests of the shell have printed, held against their schemas: closed to what these do not name.

`python -m tests.cli.documents`, before a release, writes down in `documents.json` what is new in the schemas. What
stands there is a promise: it goes only with the version in the name of its schema.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
from typer.testing import Result

from cns_cli.porcelain.schema import ANSWERS, ERROR, name_of, schema

PROMISED = Path(__file__).with_suffix(".json")


def asks_for_json(words: Sequence[str]) -> bool:
    """Whether a line asks cns for JSON; behind `bisect run PROGRAM` it asks the program."""
    return "--json" in words and (list(words[:2]) != ["bisect", "run"] or words[2] == "--json")


def command_of(words: Sequence[str]) -> str:
    """The command of a line: `cns --json bisect start HEAD` is `bisect start`; empty where it is none."""
    words = words[2:] if words[0] == "-C" else words
    bare = [word for word in words if not word.startswith("-")]
    return next((name for name in (" ".join(bare[:2]), *bare[:1]) if name in ANSWERS), "")


@cache
def validator(command: str) -> Any:
    """The validator of a command's documents."""
    return jsonschema.Draft202012Validator(closed(schema(command.split())))


def closed(shape: Any) -> Any:
    """A schema that refuses every field which it does not name."""
    if isinstance(shape, list):
        return [closed(one) for one in shape]
    if not isinstance(shape, dict):
        return shape
    inner = {word: closed(one) for word, one in shape.items()}
    return inner | ({"additionalProperties": False} if "required" in inner and "properties" in inner else {})


def follow_schema(words: Sequence[str], result: Result) -> str:
    """Hold what a command line printed against its schema, and return which that is.

    Where the program failed before it had an answer, the document is the error's.
    """
    document = json.loads(result.stdout)
    failed = isinstance(document, dict) and document.get("schema") == "cns-error/1"
    command = ERROR if failed else command_of(words)
    validator(command).validate(document)
    assert not failed or document["exit_code"] == result.exit_code != 0
    return command


def promises() -> dict[str, dict[str, str]]:
    """`$id` of each schema -> where in a document -> the types there."""
    return {name_of(command): flat(schema(command.split())) for command in ANSWERS}


def flat(shape: dict[str, Any]) -> dict[str, str]:
    """A schema as a table: `rows[].verdict` -> `string`."""
    found: dict[str, set[str]] = {}
    for place, kind in _leaves(shape, shape, ""):
        found.setdefault(place or ".", set()).add(kind)
    return {place: " ".join(sorted(kinds)) for place, kinds in found.items()}


def _leaves(shape: dict[str, Any], root: dict[str, Any], place: str) -> Iterator[tuple[str, str]]:
    """Where a type stands, and which."""
    if "$ref" in shape:
        yield from _leaves(root["$defs"][shape["$ref"].rpartition("/")[2]], root, place)
    for one in shape.get("anyOf", ()):
        yield from _leaves(one, root, place)
    for word in [shape["type"]] if isinstance(shape.get("type"), str) else shape.get("type", ()):
        yield place, word
    for value in shape.get("enum", [shape["const"]] if "const" in shape else ()):
        yield place, "string" if isinstance(value, str) else type(value).__name__
    for name, one in shape.get("properties", {}).items():
        yield from _leaves(one, root, f"{place}.{name}" if place else name)
    for one in shape.get("prefixItems", ()):
        yield from _leaves(one, root, f"{place}[]")
    for mark, word in (("[]", "items"), (".*", "additionalProperties")):
        if isinstance(one := shape.get(word), dict):
            yield from _leaves(one, root, place + mark)


if __name__ == "__main__":
    known = json.loads(PROMISED.read_text(encoding="utf-8")) if PROMISED.exists() else {}
    written = {name: shape | known.get(name, {}) for name, shape in promises().items()}
    lines = [f"{json.dumps(name)}: {json.dumps(shape)}" for name, shape in (known | written).items()]
    PROMISED.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
