"""The benchmark's two streams of concepts: one to tune on, one to report on, from artists that the base never saw.

`benchmarks/streams/<stream>/<concept>/` holds a few pictures of one drawing, composed and captioned like the demo's
concepts. `benchmarks/streams/<stream>.json` fixes everything else before a method has run: class nouns, orders,
prompts, seeds, the concepts that are asked for together, and a hash of every picture. A benchmark writes the hash of
that file beside each figure, so figures of two stream files are never mixed.

The reporting stream has none of the demo's drawings: the sweep behind the defaults used some of them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from base_model.concepts import CONCEPT_ICONS, ConceptDrawing, source_of, write_pictures
from base_model.drawings import render_icon
from base_model.sources import read_json
from base_model.vocabulary import NOUNS
from cns.families import EMOJI_64

ORDERS = 5
PICTURES = 6
PER_PROMPT = 2
ZERO_SHOT = 40
FIRST_SEED = 10_000  # of the judged images, far from the seeds of trainings
TOGETHER_TEMPLATES = ("{} on the grass", "{} on a white background", "{} in the snow", "{} on a blue background")


@dataclass(frozen=True)
class StreamPlan:
    """What one stream is made of.

    Attributes:
        name: Name of its file and folder.
        artist: Whose drawings.
        icons: Concept -> the artist's name of the drawing; the concept's name is its class noun with hyphens.
        seed: Of compositions, orders and the choice of pairs.
    """

    name: str
    artist: str
    icons: dict[str, str]
    seed: int


def _icons(words: str) -> dict[str, str]:
    """Read "concept=icon concept …"; an icon that is not named has the concept's own name."""
    return {name: icon or name for name, _, icon in (word.partition("=") for word in words.split())}


STREAMS = (
    StreamPlan(
        "tune",
        "twemoji",
        _icons(
            "dog=dog-face cat=cat-face fox lion frog owl turtle crab butterfly tulip apple=red-apple carrot pizza "
            "car=automobile rocket guitar giraffe avocado anchor robot"
        ),
        seed=1901,
    ),
    StreamPlan(
        "report",
        "fxemoji",
        _icons(
            "panda=pandaface rabbit=bunny pig monkey=monkeyface elephant octopus cactus mushroom strawberry doughnut "
            "birthday-cake=birthdaycake bus umbrella camera trophy alarm-clock=alarmclock snail tractor hourglass "
            "cherries"
        ),
        seed=1902,
    ),
)


def write_streams(packages: Path, calibration: Path, folder: Path) -> None:
    """Write both streams; what was there is replaced.

    Args:
        packages: The npm archives.
        calibration: The base's calibration.json: its held-out prompts judge zero-shot drift.
        folder: benchmarks/streams.
    """
    entries = json.loads(calibration.read_text(encoding="utf-8"))["prompts"]
    prompts = [entry["prompt"] for entry in entries if entry["split"] == "held_out"][:ZERO_SHOT]
    for plan in STREAMS:
        if plan.artist == "fxemoji" and (used := set(plan.icons.values()) & set(CONCEPT_ICONS.values())):
            raise ValueError(f"drawings of the demo's concepts may not be reported on: {', '.join(sorted(used))}")
        shutil.rmtree(folder / plan.name, ignore_errors=True)
        text = json.dumps(_stream(plan, packages, prompts, folder / plan.name), indent=1) + "\n"
        (folder / f"{plan.name}.json").write_text(text, encoding="utf-8")


def streams_notice() -> str:
    """Attribution of the streams' pictures, for NOTICE."""
    lines = ["", "The pictures under benchmarks/streams are composed of drawings of these packages; no training data:"]
    for plan in STREAMS:
        source = source_of(plan.artist)
        lines.append(f"benchmarks/streams/{plan.name}: {source.package} {source.version}, {source.licence}")
    return "\n".join(lines) + "\n"


def pictures_digest(folder: Path) -> str:
    """SHA-256 hex over the names and bytes of a concept's pictures and captions."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _stream(plan: StreamPlan, packages: Path, zero_shot: list[str], folder: Path) -> dict[str, Any]:
    """Write the pictures of a stream and return the content of its file."""
    source, rng = source_of(plan.artist), np.random.default_rng(plan.seed)
    icons, concepts = read_json(source, packages, "icons.json"), []
    for name, icon in plan.icons.items():
        noun = name.replace("-", " ")
        drawing = ConceptDrawing(noun, plan.artist, icon, render_icon(icons, icon))
        write_pictures(drawing, folder / name, PICTURES, rng, captioned=True)
        entry = {"name": name, "noun": noun, "known": noun in NOUNS, "icon": icon}
        concepts.append(entry | {"sha256": pictures_digest(folder / name)})
    names = list(plan.icons)
    orders = [[names[place] for place in rng.permutation(len(names))] for _ in range(ORDERS)]
    # Each pair and triple of other concepts, so that none counts twice; drawn, not chosen.
    drawn = [names[place] for place in rng.permutation(len(names))]
    return {
        "name": plan.name,
        "package": f"{source.package}@{source.version}",
        "archive_sha256": source.sha256,
        "artist": plan.artist,
        "licence": source.licence,
        "source": source.url,
        "concepts": concepts,
        "orders": orders,
        "prompts": list(EMOJI_64.objects.judge),
        "per_prompt": PER_PROMPT,
        "first_seed": FIRST_SEED,
        "zero_shot": zero_shot,
        "pairs": [drawn[place : place + 2] for place in range(0, 8, 2)],
        "triples": [drawn[place : place + 3] for place in range(8, 20, 3)],
        "together_prompts": list(TOGETHER_TEMPLATES),
    }
