"""`config.toml`: what a registry is told and does not know by itself, such as where its base model lies.

Read with the standard library; a new file is written by the few lines below: tables of strings, numbers, booleans and
lists of them. A key is written dotted, `base.source`. Setting a key leaves what a person wrote as it is.
"""

from __future__ import annotations

import re
import tomllib
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from registry import fsio
from registry.addresses import shown
from registry.errors import BadConfig, BadValue

HEADER = "# Settings of this cns registry. Change them here or with: cns config KEY VALUE.\n"

LARGEST = 2**16  # bytes; what this module writes has about a hundred
MOST_DOTS = 100  # of a line: the parser takes time and memory by their square

_KEY = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def load(path: Path) -> dict[str, Any]:
    """Return the settings, nested; empty where there is no file.

    Raises:
        BadConfig: it is not TOML.
    """
    content = fsio.read(path, LARGEST)
    return {} if content is None else parse(path, content)


def parse(path: Path, content: bytes) -> dict[str, Any]:
    """Return the settings that a file's content says; raises BadConfig as `load` does."""
    if any(line.count(b".") > MOST_DOTS for line in content.splitlines()):
        raise BadConfig(path, f"a line has more than {MOST_DOTS} dots; expected short keys")
    try:
        return tomllib.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadConfig(path, f"{error}; expected TOML") from error


def save(path: Path, settings: dict[str, Any]) -> None:
    """Write a new file of settings, durably; raises BadValue for what TOML's plain values cannot hold."""
    fsio.replace(path, _fresh(settings).encode("utf-8"))


def change(path: Path, dotted: str, value: Any) -> None:
    """Set a dotted key in the file, durably; value None removes it. Comments, order and blank lines in it stay.

    Raises:
        BadConfig: it is not TOML. BadValue: as `with_value`, or TOML's plain values cannot hold it.
    """
    from tomlkit.exceptions import TOMLKitError  # 40 ms that readers do not pay

    content = fsio.read(path, LARGEST) or HEADER.encode("utf-8")
    settings = with_value(parse(path, content), dotted, value)
    try:
        text = _edited(content.decode("utf-8"), dotted, value)
        is_meant = tomllib.loads(text) == settings
    except (TOMLKitError, ValueError, RecursionError):
        is_meant = False
    fsio.replace(path, (text if is_meant else _fresh(settings)).encode("utf-8"))


def lookup(settings: dict[str, Any], dotted: str, default: Any = None) -> Any:
    """Return the value at a dotted key, or default."""
    found: Any = settings
    for part in dotted.split("."):
        if not isinstance(found, dict) or part not in found:
            return default
        found = found[part]
    return found


def text(path: Path, settings: dict[str, Any], dotted: str) -> str | None:
    """Return the text at a dotted key of the settings in a file, None where there is none or an empty one.

    Raises:
        BadConfig: it is no text. The file may come from anybody.
    """
    value = lookup(settings, dotted)
    if value is None or isinstance(value, str):
        return value or None
    raise BadConfig(path, f"{dotted} is {shown(str(value))[:40]}; expected a text")


def with_value(settings: dict[str, Any], dotted: str, value: Any) -> dict[str, Any]:
    """Return settings with a dotted key set; value None removes it. The argument is not changed.

    Raises:
        BadValue: the key has other characters than letters, digits, - and _, or runs through a plain value.
    """
    if not _KEY.fullmatch(dotted):
        raise BadValue("config key", dotted, "letters, digits, '-' and '_', joined by '.'")
    first, _, rest = dotted.partition(".")
    changed = dict(settings)
    if rest:
        inner = changed.get(first, {})
        if not isinstance(inner, dict):
            raise BadValue("config key", dotted, f"another key: '{first}' is a value, not a table")
        changed[first] = with_value(inner, rest, value)
    elif value is None:
        changed.pop(first, None)
    else:
        changed[first] = value
    return changed


def written(value: Any) -> str:
    """Return a plain value as TOML; raises BadValue for what is none."""
    return _value("value", value)


def nested(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings with dotted keys, such as {"base.source": …}, as nested tables; None values are left out."""
    result: dict[str, Any] = {}
    for key, value in settings.items():
        if value is not None:
            result = with_value(result, key, nested(value) if isinstance(value, dict) else value)
    return result


def _edited(text: str, dotted: str, value: Any) -> str:
    """Return the text of a file with a key set or removed, all else as it was."""
    import tomlkit

    document = tomlkit.parse(text)
    table: Any = document
    *above, key = dotted.split(".")
    for name in above:
        table = table.setdefault(name, tomlkit.table())
    if value is None:
        table.pop(key, None)
    else:
        table[key] = tomlkit.value(_value(key, value))
    return tomlkit.dumps(document)


def _fresh(settings: dict[str, Any]) -> str:
    return HEADER + "\n".join(_table("", settings)) + "\n"


def _table(name: str, settings: dict[str, Any]) -> list[str]:
    plain = {key: value for key, value in settings.items() if not isinstance(value, dict)}
    lines = [f"\n[{name}]"] if name and plain else []
    lines += [f"{_quoted_key(key)} = {_value(key, value)}" for key, value in sorted(plain.items())]
    for key, value in sorted(settings.items()):
        if isinstance(value, dict):
            lines += _table(f"{name}.{_quoted_key(key)}" if name else _quoted_key(key), value)
    return lines


def _quoted_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _string(key)


def _value(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(key, inner) for inner in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_quoted_key(name)} = {_value(key, inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    raise BadValue(f"config key '{key}'", value, "a string, number, boolean or a list of them")


def _string(text: str) -> str:
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise BadValue("config text", text, "text without lone surrogates")
    shown = "".join(
        _ESCAPES.get(letter) or (letter if letter.isprintable() else f"\\U{ord(letter):08x}") for letter in text
    )
    return f'"{shown}"'
