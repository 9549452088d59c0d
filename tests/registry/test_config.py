"""config.toml: what is saved comes back, and comes back to any TOML reader."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import config
from registry.errors import BadConfig, BadValue

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = text | st.integers(-(2**60), 2**60) | st.booleans() | st.floats(allow_nan=False)
keys = st.from_regex(r"[A-Za-z0-9_-]{1,8}", fullmatch=True)
tables = st.recursive(
    st.dictionaries(keys, scalars | st.lists(scalars, max_size=3), max_size=4),
    lambda inner: st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)


@given(tables)
def test_what_was_saved_is_loaded(tmp_path: Path, settings: dict[str, Any]) -> None:
    path = tmp_path / "config.toml"
    config.save(path, settings)
    assert _pruned(config.load(path)) == _pruned(settings)


def _pruned(settings: dict[str, Any]) -> dict[str, Any]:
    """Without empty tables, which are not written."""
    inner = {key: _pruned(value) if isinstance(value, dict) else value for key, value in settings.items()}
    return {key: value for key, value in inner.items() if value != {}}


def test_text_is_what_a_person_would_write(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    config.save(path, {"base": {"source": "emoji-64"}, "check": {"max_drop": 0.02, "fast": True, "metric": ["id"]}})
    assert path.read_text().splitlines()[1:] == [
        "",
        "[base]",
        'source = "emoji-64"',
        "",
        "[check]",
        "fast = true",
        "max_drop = 0.02",
        'metric = ["id"]',
    ]


def test_dotted_keys_reach_inside() -> None:
    settings = config.with_value({}, "mlflow.required", True)
    settings = config.with_value(settings, "mlflow.name", "dogs")
    assert settings == {"mlflow": {"required": True, "name": "dogs"}}
    assert config.lookup(settings, "mlflow.name") == "dogs"
    assert config.lookup(settings, "mlflow.name.more", 5) == 5
    assert config.lookup(settings, "base.source") is None
    assert config.with_value(settings, "mlflow.name", None) == {"mlflow": {"required": True}}
    assert config.nested({"a.b": 1, "c": {"d": 2}, "e": None}) == {"a": {"b": 1}, "c": {"d": 2}}


@pytest.mark.parametrize("key", ["", ".", "a..b", "a b", "ä", "a."])
def test_odd_keys_are_refused(key: str) -> None:
    with pytest.raises(BadValue):
        config.with_value({}, key, 1)


def test_key_through_a_value_is_refused() -> None:
    with pytest.raises(BadValue, match="'a' is a value"):
        config.with_value({"a": 1}, "a.b", 1)


def test_what_other_tools_wrote_survives(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('day = 2026-11-24\n"odd key" = 1\n[[remote]]\nname = "team"\nurl = "x"\n')
    before = config.load(path)
    config.save(path, before)
    assert config.load(path) == before == tomllib.loads(path.read_text())


PERSONAL = """\
# Ours, not the program's.
[mlflow] # the server of the group
name = "dogs"   # who else has dogs?

# 8 took too long
[check]
images = 4

[base]
source = 'emoji-64'
"""


def test_what_a_person_wrote_survives_a_change(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(PERSONAL)
    config.change(path, "mlflow.name", "cats")
    config.change(path, "check.min.id", 0.5)
    config.change(path, "user.name", "Ann\u202e")
    text = path.read_text()
    assert set(PERSONAL.replace('dogs"', 'cats"').splitlines()) <= set(text.splitlines())
    assert text.endswith('[user]\nname = "Ann\\U0000202e"\n')
    assert config.lookup(config.load(path), "check.min.id") == 0.5
    for key in ("check.min.id", "user.name"):
        config.change(path, key, None)
    config.change(path, "mlflow.name", "dogs")
    assert [line for line in path.read_text().splitlines() if line not in ("", "[check.min]", "[user]")] == [
        line for line in PERSONAL.splitlines() if line
    ]


@given(tables, keys, keys, scalars | st.lists(scalars, max_size=3) | st.none())
def test_a_change_is_what_the_settings_then_say(
    tmp_path: Path, settings: dict[str, Any], outer: str, inner: str, value: Any
) -> None:
    path = tmp_path / "config.toml"
    config.save(path, settings)
    try:
        expected = config.with_value(config.load(path), f"{outer}.{inner}", value)
    except BadValue:
        expected = config.load(path)
        with pytest.raises(BadValue):
            config.change(path, f"{outer}.{inner}", value)
    else:
        config.change(path, f"{outer}.{inner}", value)
    assert _pruned(config.load(path)) == _pruned(expected)


@pytest.mark.parametrize("content", ["x.y = 1\n", "[x.z]\n[b]\n[x.w]\n", "[[x]]\n", "x = {y = 1}\n", "", "\r\n# c\r\n"])
def test_whatever_the_file_looked_like_it_reads_as_it_is_meant(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(content.encode())
    before = config.load(path)
    key = "y.k" if isinstance(before.get("x"), list) else "x.k"
    config.change(path, key, [1, "a"])
    assert config.load(path) == config.with_value(before, key, [1, "a"])


@pytest.mark.parametrize("content", [b"a = ", b"\xff", b"[" * 5000, b"a = 1\na = 2\n"])
def test_broken_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    with pytest.raises(BadConfig) as caught:
        config.load(path)
    assert caught.value.path == path


@pytest.mark.parametrize("value", [object(), b"x", "\ud800"])
def test_values_that_toml_cannot_hold_are_refused(tmp_path: Path, value: Any) -> None:
    with pytest.raises(BadValue):
        config.save(tmp_path / "config.toml", {"a": value})
    assert not (tmp_path / "config.toml").exists()


def test_no_file_is_no_settings(tmp_path: Path) -> None:
    assert config.load(tmp_path / "config.toml") == {}
