"""The smallest way to write HTML that cannot be escaped from: a string is text unless this module made it.

`el("td", name)` escapes `name`, whatever is in it, and passes it through `output.safe`, so that no control or bidi
character of a commit message reaches the page. Only what `el` and `join` return is taken as markup.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable

from cns_cli.output import safe

_VOID = frozenset({"meta", "link", "img", "input", "br", "hr"})
Attribute = str | int | float | bool | None


class Markup(str):
    """HTML that was made here; every other string is text."""

    __slots__ = ()


EMPTY = Markup("")


def text(value: object) -> Markup:
    """Escape anything for the inside of an element or of a quoted attribute."""
    return Markup(html.escape(safe(value), quote=True))


def join(parts: Iterable[str]) -> Markup:
    """Put pieces one after another; those that are no markup are escaped."""
    return Markup("".join(part if isinstance(part, Markup) else text(part) for part in parts))


def el(tag: str, *children: str, **attributes: Attribute) -> Markup:
    """Return an element.

    Args:
        tag: Its name, ours and never a user's.
        children: Markup, or text to be escaped.
        attributes: `cls` means class, a trailing underscore is dropped, others become hyphens. None and False leave
            an attribute out, True gives it no value.
    """
    written = "".join(_attribute(name, value) for name, value in attributes.items() if value is not None)
    if tag in _VOID:
        return Markup(f"<{tag}{written}>")
    return Markup(f"<{tag}{written}>{join(children)}</{tag}>")


def style(css: str) -> Markup:
    """Return a style element. Its text must be ours: it is not escaped."""
    return Markup(f"<style>{css}</style>")


def data_uri(data: bytes, kind: str = "image/webp") -> str:
    """Return a picture as an address that needs no network."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _attribute(name: str, value: Attribute) -> str:
    if value is False:
        return ""
    written = "class" if name == "cls" else name.rstrip("_").replace("_", "-")
    return f" {written}" if value is True else f' {written}="{text(value)}"'
