"""Reports made by hand, for the tests of the page: no registry and no model is needed to draw one."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from io import BytesIO

from PIL import Image

from cns_cli.porcelain.reporting.data import (
    Cell,
    CommitLine,
    ConceptFacts,
    Drop,
    MetricTable,
    ReportData,
    Sheet,
    SheetRow,
    Step,
    Summary,
    Tile,
)

NASTY = "</style></title><script>alert(1)</script><img src=http://x/y onerror=alert(1)>\"'&\x1b[31m\u202e\u2028"


@cache
def picture() -> bytes:
    """A small WebP."""
    buffer = BytesIO()
    Image.new("RGB", (64, 64), "#c24400").save(buffer, format="WEBP")
    return buffer.getvalue()


def commit(number: int, concepts: dict[str, str], subject: str = "", **changes: object) -> CommitLine:
    parents = (f"{number - 1:064x}",) if number > 1 else ()
    line = CommitLine(
        id=f"{number:064x}", tree=f"{1000 + number:064x}", parents=parents, kind="add",
        subject=subject or f"add c{number}", author="ann", time=1_780_000_000 + number, concepts=concepts,
    )  # fmt: skip
    return replace(line, **changes)


def report_of(rows: int, columns: int, words: str = "", fall: float = 0.0) -> ReportData:
    """A report made by hand: one concept a row until there are `columns`; the last row falls by `fall`.

    Args:
        rows: Commits.
        columns: Concepts.
        words: Stands wherever a user's or a stranger's words may stand.
        fall: Of every concept's every score, in the last commit.
    """
    ids = [f"{5000 + j:064x}" for j in range(columns)]
    lines = [
        commit(i + 1, {f"c{j}": ids[j] for j in range(min(i + 1, columns))}, words or f"add c{i}") for i in range(rows)
    ]
    facts = tuple(
        ConceptFacts(
            id=ids[j], name=f"c{j}", class_noun=words or "dog", tokens=(words or f"<c{j}>",), commit=lines[j].id,
            birth_tree=lines[j].tree, neurons=100, share_kv=0.058, stored_bytes=50_000, references=6, photos_kept=True,
            settings={"score": words or "wanda"},
        )
        for j in range(columns)
    )  # fmt: skip
    cells = tuple(
        tuple(
            Cell(0.8 - fall * (i == rows - 1), -fall * (i == rows - 1), 10, 4) if j <= i else None
            for j in range(columns)
        )
        for i in range(rows)
    )
    drop = Drop(fall, fall - 0.01, fall + 0.01, "forgot" if fall > 0.03 else "kept", "id fell by it")
    tables = tuple(
        MetricTable(
            metric, label, cells, (0.5,) * columns, (0.9,) * columns, (Cell(0.8, 0.0, 10, 4),) * columns,
            (drop,) * columns if metric != "clip_t" else (), Summary(-fall, -fall - 0.01, -fall + 0.01, fall, 0.9, 0.3),
        )
        for metric, label in (("identity", "Identity"), ("clip_i", "CLIP-I"), ("clip_t", "CLIP-T"))
    )  # fmt: skip
    return ReportData(
        rev="HEAD", head=replace(lines[-1], refs=("HEAD -> main", words or "dev")), registry=words or "lab",
        version="0.1.0", base="b" * 64, family="emoji-64", rows=tuple(lines), graph=tuple(reversed(lines)),
        columns=facts, tables=tables, outcomes=(drop.outcome,) * columns,
        worst=(Step(lines[0].id, lines[-1].id, -fall) if fall else None,) * columns,
        drift={(lines[-1].id, ids[0]): 0.01}, overlap={(0, 1): 0.5, (1, 0): 0.5} if columns > 1 else {},
        max_drop={"identity": 0.02, "clip_i": 0.02}, protocol={"seed": 0, "encoders": {"clip": words or "e" * 64}},
        protocol_digest="d" * 64, left_out=(words or "something",), warnings=(words or "a warning",),
        sheets=(
            Sheet(
                words or "c0", (words or "a … in the snow",), 1,
                SheetRow("references", "1 image", tiles=(Tile(picture(), 64, words or "rex"),)),
                (SheetRow(words or "add c0", "#1", "Identity 0.8", (Tile(picture(), 64, words or "rex"),)),
                 SheetRow("add c1", "#2", note=words or "not made")),
            ),
        ),
    )  # fmt: skip
