"""`cns erase NOUN...`: have the base forget nouns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cns_cli import figures
from cns_cli.options import JsonFlag, MissingArgument, takes
from cns_cli.output import Line, Output, Styled, facts
from cns_cli.porcelain.options import EraseOptions
from cns_cli.progress import open_progress
from cns_cli.settings import request_settings

if TYPE_CHECKING:
    from cns_cli.porcelain.erase import EraseResult

EXAMPLES = ("cns erase dog", "cns erase dog --to cat", 'cns erase dog "teddy bear" --images 4', "cns revert HEAD")
NEAREST = 3


@takes(EraseOptions)
def erase(as_json: JsonFlag = False, **given: Any) -> None:
    """Have the base forget nouns, by a commit.

    Prompts of a noun draw something else. It is solved in closed form, for the values of cross-attention alone, and for
    all nouns that the model erases together; concepts, other nouns and general prompts are held where they are. Every
    prompt sees it. An erasure suppresses a name and is no safety device: other words, pictures or a learned token can
    bring back what it named.
    """
    if not given["nouns"]:
        raise MissingArgument("NOUN...: expected nouns that the base draws", EXAMPLES[0])
    options = EraseOptions(**{**given, "nouns": tuple(given["nouns"])}, **request_settings())
    from cns_cli.porcelain.erase import erase as forget

    out = Output(as_json=as_json)
    with open_progress() as progress:
        result = forget(options, progress)
    for warning in result.warnings:
        out.warn(warning)
    out.answer(result.to_json(), erase_lines(result))
    if result.drift:
        out.hint("cns check", "did the concepts keep their looks?")
    out.hint(f"cns revert {figures.short_id(result.commit)}", "take it back")


def erase_lines(result: EraseResult) -> Iterator[Line]:
    """Shape what was erased, and what that does."""
    from cns_cli.porcelain.erase import NOT_SAFETY

    yield ["erased ", Styled(figures.erased(result.erased), "bold")]
    yield ""
    rows = [
        ("commit", f"{figures.short_id(result.commit)} on {result.branch or 'a detached HEAD'}"),
        ("stored", f"{figures.byte_size(result.bytes_stored)}, rank {result.rank}, in all value matrices"),
    ]
    rows += [
        (f"drawn as {one.noun}", f"{one.before:.0%} -> {one.after:.0%} of its prompts' pictures")
        for one in result.shares
    ]
    moved = [f"{noun} {figures.drift(value)}" for noun, value in list(result.others.items())[:NEAREST]]
    if moved:
        rows.append(("moved most", f"{', '.join(moved)} (values of other nouns; relative, squared)"))
    rows += [(f"drift of {name}", f"{figures.drift(value)} since its birth") for name, value in result.drift.items()]
    if len(result.all) > len(result.erased):
        rows.append(("with it", figures.erased({k: v for k, v in result.all.items() if k not in result.erased})))
    if result.preview:
        rows.append(("preview", figures.place(result.preview)))
    yield from facts(rows)
    yield ""
    yield from textwrap.wrap(f"An erasure is exact, and taken back exactly. But {NOT_SAFETY}.", 80)
