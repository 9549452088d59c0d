"""From an answer's dataclass to the JSON Schema (draft 2020-12) of what `to_json()` makes of it.

Types come from the annotations, words from the docstring's `Attributes:`. Every field is required, since every field is
printed; further ones may appear later, so that none is forbidden. A float may be null: JSON has no word for NaN.
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

Schema = dict[str, Any]

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_PLAIN: dict[Any, Schema] = {
    str: {"type": "string"},
    Path: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": ["number", "null"]},
    type(None): {"type": "null"},
    Any: {},
    object: {},
}


def document(kind: Any, name: str, title: str) -> Schema:
    """Return the schema of a whole document.

    Args:
        kind: Annotation of the answer: a dataclass, a union of several, a list of one.
        name: Its `$id`, with the version: `cns-log/1`.
        title: What it is, in a few words.
    """
    found: dict[str, Schema] = {}
    shape = of(kind, found)
    if list(shape) == ["$ref"]:
        shape = found.pop(kind.__name__) if not _is_used(kind.__name__, found) else shape
    defs = {"$defs": dict(sorted(found.items()))} if found else {}
    return {"$schema": DRAFT, "$id": name, "title": title, **shape, **defs}


def of(kind: Any, found: dict[str, Schema]) -> Schema:
    """Return the schema of an annotation.

    Args:
        kind: What `typing.get_type_hints` calls the type.
        found: Class name -> schema of the dataclasses in it; it grows.

    Raises:
        TypeError: values of this type do not become JSON by `to_json()`.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if kind in _PLAIN:
        return dict(_PLAIN[kind])
    if origin is Literal:
        return {"enum": list(inner)}
    if origin in (Union, types.UnionType):
        return _any_of([of(one, found) for one in inner])
    if origin in (list, tuple) and (origin is list or inner[1:] == (...,)):
        return {"type": "array", "items": of(inner[0], found)}
    if origin is tuple:
        return {
            "type": "array",
            "prefixItems": [of(one, found) for one in inner],
            "minItems": len(inner),
            "items": False,
        }
    if origin in (Mapping, dict):
        values = of(inner[1], found)
        return {"type": "object", **({"additionalProperties": values} if values else {})}
    if is_dataclass(kind) and isinstance(kind, type):
        if kind.__name__ not in found:
            found[kind.__name__] = {}  # a class that holds itself ends here
            found[kind.__name__] = _object(kind, found)
        return {"$ref": f"#/$defs/{kind.__name__}"}
    raise TypeError(f"{kind!r} has no schema")


def attribute_docs(kind: type) -> dict[str, str]:
    """Read the `Attributes:` section of a dataclass's docstring and of its bases', name -> words; `a, b:` says both."""
    said: dict[str, str] = {}
    for cls in reversed(kind.__mro__):
        section = (inspect.cleandoc(cls.__doc__ or "")).partition("Attributes:\n")[2]
        names: list[str] = []
        for line in section.splitlines():
            if match := re.match(r" {4}(\w+(?:, \w+)*): (.*)", line):
                names = match[1].split(", ")
                said |= dict.fromkeys(names, match[2])
            elif names and line.startswith("     "):
                said |= dict.fromkeys(names, f"{said[names[0]]} {line.strip()}")
    return said


def _object(kind: type, found: dict[str, Schema]) -> Schema:
    """The fields of a dataclass, and the properties that its `to_json()` adds."""
    hints, said = get_type_hints(kind), attribute_docs(kind)
    kinds = {field.name: hints[field.name] for field in fields(kind)}
    for name in getattr(kind, "also", ()):
        made = getattr(kind, name).fget
        kinds[name] = get_type_hints(made)["return"]
        said[name] = inspect.cleandoc(made.__doc__ or "")
    words = {name: {"description": said[name]} if name in said else {} for name in kinds}
    properties = {name: {**of(one, found), **words[name]} for name, one in kinds.items()}
    about = inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0].replace("\n", " ")
    return {"type": "object", "description": about, "properties": properties, "required": list(properties)}


def _any_of(shapes: list[Schema]) -> Schema:
    """One schema of several: plain types are said in one list."""
    if all(list(shape) == ["type"] for shape in shapes):
        listed = [shape["type"] if isinstance(shape["type"], list) else [shape["type"]] for shape in shapes]
        return {"type": list(dict.fromkeys(word for words in listed for word in words))}
    return {"anyOf": shapes}


def _is_used(name: str, found: Mapping[str, Schema]) -> bool:
    """Whether a definition refers to the one of this name."""
    return f"'#/$defs/{name}'" in repr(found)
