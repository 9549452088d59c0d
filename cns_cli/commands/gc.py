"""`cns gc`: remove what nothing has reached for a while."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cns_cli import figures
from cns_cli.options import JsonFlag, takes
from cns_cli.output import Line, Output
from cns_cli.porcelain.options import GcOptions
from cns_cli.settings import request_settings

if TYPE_CHECKING:
    from cns_cli.porcelain.gc import GcResult

EXAMPLES = ("cns gc --dry-run", "cns gc", "cns gc --prune 3d", "cns gc --prune now")


@takes(GcOptions)
def gc(as_json: JsonFlag = False, **given: Any) -> None:
    """Remove objects that nothing has reached for two weeks.

    Branches, tags, HEAD and the reflogs of the last 90 days (30 days for moves to what no branch reaches any more) keep
    what they reach. Use `--prune now` only while no other cns command runs here.
    """
    from cns_cli.porcelain.gc import gc as collect

    out = Output(as_json=as_json)
    result = collect(GcOptions(**given, **request_settings()))
    out.answer(result.to_json(), gc_lines(result))
    if result.dry_run and (result.removed or result.temporaries):
        out.hint("cns gc", "remove them")


def gc_lines(result: GcResult) -> Iterator[Line]:
    """Shape what went, and what stays and why."""
    would = "would remove" if result.dry_run else "removed"
    count = sum(result.removed.values())
    kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(result.removed.items()))
    yield f"{would} {figures.plural(count, 'object')}" + (f": {kinds}" if kinds else "")
    if result.evaluations:
        yield f"{would} {figures.plural(result.evaluations, 'evaluation')} of models that nothing reaches"
    if result.moves:
        yield f"{would} {figures.plural(sum(result.moves.values()), 'old move')} from the reflogs"
    if result.temporaries:
        yield f"{would} {figures.plural(len(result.temporaries), 'leftover')} of interrupted writes"
    yield f"{'would free' if result.dry_run else 'freed'} {figures.byte_size(result.freed_bytes)}"
    yield f"{figures.plural(result.reachable, 'object')} in use, {result.young:,} not in use but too young to go"
    if result.cache_bytes:
        yield f".cns/cache holds {figures.byte_size(result.cache_bytes)}; it is left alone, and may be deleted"
