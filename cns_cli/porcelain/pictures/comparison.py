"""Two models side by side: the same prompts and seeds, a row for each concept, on one sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image

from cns.templates import fill_template, phrase_of
from cns_cli.figures import short_id
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.models.stored import kind_of
from cns_cli.porcelain.pictures.plan import Stop
from cns_cli.porcelain.pictures.run import LARGE_TILE, small_copies
from cns_cli.porcelain.pictures.words import without_concepts
from cns_cli.progress import Progress
from cns_cli.sheets import TILE, as_png, contact_sheet
from cns_cli.signals import explained
from registry.objects import Concept

Known = Mapping[str, Concept]
"""The concepts of a model, by name."""


def comparison(session: Session, sides: Sequence[Stop], *, n: int, seed: int, progress: Progress) -> bytes:
    """Draw two models.

    Args:
        session: The registry, with its base loaded.
        sides: The two models, that of the left columns first.
        n: Pictures of each concept in each model; picture k takes seed + k.
        seed: Of the first.
        progress: Told of progress.

    Returns:
        A PNG.
    """
    known = [session.repo.concepts(side.tree) for side in sides]
    tile = TILE if session.base.resolution <= TILE else LARGE_TILE
    names = sorted({*known[0], *known[1]})
    shown: dict[str, list[Image.Image]] = {name: [] for name in names}
    progress.stage("generate", len(sides) * n * len(names))
    with explained("no sheet was written", "run the command again"):
        for side, here, there in zip(sides, known, reversed(known), strict=True):
            session.write(side.tree)
            for name in names:
                prompt = _prompt(session, name, here, there)
                images = session.base.images([prompt] * n, range(seed, seed + n))
                shown[name] += small_copies([images], tile)
                progress.step(sum(map(len, shown.values())))
    rows = [(_label(session, name, *known), shown[name]) for name in names]
    heads = [f"{letter}  {short_id(side.commit_id)}" for letter, side in zip("AB", sides, strict=True)]
    title = f"A: {sides[0].commit.subject}   B: {sides[1].commit.subject}"
    return as_png(contact_sheet(rows, title=title, heads=heads, tile=tile))


def _prompt(session: Session, name: str, here: Known, there: Known) -> str:
    """The first judge prompt of a concept, as a model reads it that may lack it."""
    concept = here.get(name) or there[name]
    template = session.base.family.templates(kind_of(concept)).judge[0]
    prompt = fill_template(template, phrase_of(concept.tokens, concept.class_noun))
    return prompt if name in here else without_concepts(prompt, [concept])


def _label(session: Session, name: str, before: Known, now: Known) -> str:
    """What became of a concept, and what the models were asked for; one that lacks it reads its class noun."""
    asked = _prompt(session, name, now, before) if name in now else _prompt(session, name, before, now)
    if name not in before:
        became = "added in B"
    elif name not in now:
        became = "removed in B"
    else:
        became = "the same" if before[name] == now[name] else "changed"
    return f"{name}, {became}:  {asked}"
