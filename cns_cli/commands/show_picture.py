"""`cns show PICTURE`: the lines of a picture's record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cns_cli import figures
from cns_cli.output import Line, facts

if TYPE_CHECKING:
    from cns_cli.porcelain.pictures.files import PictureResult

LONGEST = 2_000
"""Characters of one line; a picture may come from anybody."""


def picture_lines(result: PictureResult) -> Iterator[Line]:
    """Shape a record as facts, and the command below them."""
    record = result.record
    several = f", image {record.seed - record.first_seed + 1} of {record.n}" if result.alone else ""
    sheet = f", a sheet of {record.n} images" if record.grid else ""
    rows = [
        ("prompt", record.prompt),
        ("negative", record.negative or ""),
        ("regions", "  ".join(record.regions)),
        ("seed", f"{record.seed}{several}{sheet}"),
        ("sampler", f"{record.sampler}, {figures.plural(record.steps, 'step')}, guidance {record.guidance:g}"),
        ("size", f"{record.width}x{record.height}"),
        ("computed in", record.dtype or ""),
        ("commit", figures.short_id(record.commit)),
        ("range", "..".join(map(figures.short_id, record.at.split(".."))) if ".." in record.at else ""),
        ("tree", figures.short_id(record.tree)),
        ("base", figures.short_id(record.base)),
        ("prompts see", figures.COMPOSED[record.compose] if record.compose else ""),
        ("concepts", ", ".join(f"{name} {figures.short_id(one)}" for name, one in record.concepts.items())),
        ("made by", f"a model, by IPTC's {word}" if (word := (result.source_type or "").rpartition("/")[2]) else ""),
        ("cns", record.version),
    ]
    yield from facts((label, value[:LONGEST]) for label, value in rows if value)
    yield ""
    yield result.command
    if result.alone:
        yield ""
        yield "this one alone (sums in another order may shift a grey level):"
        yield result.alone
