"""A plan: many concepts in one TOML file, each a `[[concept]]` with its images and its options of `cns add`.

What stands above the tables holds for all of them. Keys are the options' long names, and values are checked as the
command line checks what is typed: the whole file, before anything is trained.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_type_hints

from cns.errors import MethodError
from cns.files.images import scan_folder
from cns.judges.classnoun import clean_noun
from cns.templates import default_token
from cns_cli.optionfield import meant, option_of
from cns_cli.porcelain.learning.interrupted import flag_of
from cns_cli.porcelain.options import AddOptions
from cns_cli.porcelain.scoring.names import check_names
from registry.errors import BadConfig, RegistryError
from registry.names import check_new_name

OF_COMMAND = ("dry-run", "resume", "replace", "continue")  # would have another meaning each time that a plan is run
OTHER_WORD = {"steps": "repeats", "repeats": "steps"}  # two ways to say one thing

_HINTS = get_type_hints(AddOptions, include_extras=True)
FIELDS = {
    key: one.name
    for one in fields(AddOptions)
    if option_of(_HINTS[one.name]) and (key := flag_of(one.name).removeprefix("--")) not in OF_COMMAND
}


def read_plan(path: Path, options: AddOptions) -> list[AddOptions]:
    """Read the requests of a plan, in its order.

    Args:
        path: The file; paths in it are meant from its folder.
        options: What was typed, which wins over what the plan says.

    Raises:
        BadConfig: It is no TOML, or says what cannot be meant: names the concept and the key.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadConfig(path, f"{error}; expected TOML") from error
    concepts = table.pop("concept", None)
    if not isinstance(concepts, list) or not concepts or not all(isinstance(one, dict) for one in concepts):
        raise BadConfig(path, "expected a table [[concept]] with name and images for each concept")
    requests, where = list[AddOptions](), "at the top"
    try:
        common = _given(table, [key for key in FIELDS if key not in ("name", "images", "token")])
        for number, one in enumerate(concepts, 1):
            where = f"concept {number}" + (f" ({one['name']})" if isinstance(one.get("name"), str) else "")
            own = _given(one, list(FIELDS))
            requests.append(_request(path.parent, common, own, options))
            _check_new(requests)
    except (ValueError, MethodError, RegistryError) as error:
        raise BadConfig(path, f"{where}: {getattr(error, 'message', error)}") from error
    return requests


def _given(table: Mapping[str, Any], keys: list[str]) -> dict[str, Any]:
    """The fields that a table has, checked."""
    found = {}
    for key, value in table.items():
        if key not in keys:
            if key in FIELDS:
                raise ValueError(f"{key} is of one concept; expected it under [[concept]]")
            if key.replace("_", "-") in OF_COMMAND:
                raise ValueError(f"{key} is for the command line: --{key.replace('_', '-')}")
            near = get_close_matches(key.replace("_", "-"), keys, n=1)
            raise ValueError(f"unknown key {key!r}; expected {near[0] if near else ', '.join(keys)}")
        try:
            found[FIELDS[key]] = meant(_HINTS[FIELDS[key]], value)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
    if found.get("steps") and found.get("repeats"):
        raise ValueError("repeats is another way to say steps; expected one of them")
    return found


def _request(folder: Path, common: Mapping[str, Any], own: Mapping[str, Any], options: AddOptions) -> AddOptions:
    """The request of a concept: what was typed wins over its own table, and that over what holds for all."""
    for key in ("name", "images"):
        if key not in own:
            raise ValueError(f'there is no {key}; expected {key} = "..."')
    said = dict(own)
    for name, value in common.items():
        if OTHER_WORD.get(name) not in own:
            said.setdefault(name, value)
    typed = {*options.typed, *(OTHER_WORD[name] for name in OTHER_WORD if name in options.typed)}
    said = {name: value for name, value in said.items() if name not in typed}
    one = replace(options, **{**said, "images": folder / said["images"]}, typed=options.typed | said.keys())
    check_new_name(one.name)
    check_names(one.score, one.reg)
    if one.class_noun is not None:
        clean_noun(one.class_noun)
    try:
        scan_folder(one.images)
    except MethodError as error:
        raise ValueError(f"images: {error.message}") from error
    return one


def _check_new(requests: list[AddOptions]) -> None:
    """Refuse the last one where one before it has its name, or its token."""
    *before, last = requests
    for number, other in enumerate(before, 1):
        if other.name == last.name:
            raise ValueError(f"name: concept {number} is called {last.name}, too")
        if (token := last.token or default_token(last.name)) == (other.token or default_token(other.name)):
            raise ValueError(f"token: concept {number} ({other.name}) has {token}, too")
