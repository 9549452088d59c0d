"""A report's data as one HTML page that needs nothing else: styles and pictures inside, no script, no network.

The content security policy allows the page's own style sheet (by its hash) and pictures inside the page, nothing more,
so that even markup that slipped through the escaping could neither run nor call home. Choosing the metric is a pair of
radio buttons and a CSS rule; a browser without `:has()` shows all metrics one after another. What stands where says the
template, `page.html.jinja`.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterator
from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream
from markupsafe import Markup

from cns_cli import figures
from cns_cli.output import safe
from cns_cli.porcelain.reporting import drawing, tables, words
from cns_cli.porcelain.reporting.data import ReportData

_BESIDE_A_TAG = re.compile(r"(?:\A|(?<=>))\s*\n\s*|\s*\n\s*(?=<|\Z)")
_BETWEEN_WORDS = re.compile(r"\s*\n\s*")


class Layout(Extension):
    """Keeps the template's line breaks and indentation out of the page: beside a tag or a block they are nothing."""

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        """Yield the template's tokens; a line break between words becomes a space."""
        for token in stream:
            if token.type == "data":
                text = _BETWEEN_WORDS.sub(" ", _BESIDE_A_TAG.sub("", token.value))
                token = Token(token.lineno, token.type, text)
            yield token


def page(data: ReportData) -> str:
    """Return the whole page."""
    css = resources.files("cns_cli.porcelain.reporting").joinpath("page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    return f"<!doctype html>\n{_template().render(data=data, css=css, policy=policy)}\n"


@cache
def _template() -> Template:
    """The template, with what it may call; whatever it writes passes `_text`."""
    environment = Environment(
        loader=PackageLoader("cns_cli.porcelain.reporting", ""),
        autoescape=True,
        finalize=_text,
        undefined=StrictUndefined,
        extensions=[Layout],
    )
    environment.globals |= {"drawing": drawing, "figures": figures, "tables": tables, "words": words, "zip": zip}
    return environment.get_template("page.html.jinja")


def _text(value: object) -> Markup:
    """Escaped, control and bidi characters made visible; markup stays, and a float is a drawing's coordinate."""
    if isinstance(value, Markup):
        return value
    if isinstance(value, float):
        value = f"{value:.1f}".removesuffix(".0")  # one decimal is finer than a screen's pixel
    return Markup(html.escape(safe(value)))
