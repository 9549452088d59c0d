"""What a `cns generate` is going to make: which models, where to. Everything that can be refused before torch is.

A revision is one stop; a range `A..B` is a stop for each commit from A to B along first parents, both ends among them,
the oldest first. A range that is longer than `MAX_STOPS` is thinned out evenly, with a warning.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cns.boxes import Box, is_prompt, split_region
from cns_cli.porcelain.options import GenerateOptions
from cns_cli.porcelain.pictures.files import is_ours, picture_format
from registry.errors import RegistryError, UnknownConcept, UnknownRevision
from registry.objects import Commit, Compose, Tree
from registry.repository import Repository
from registry.trees import composing

MAX_STOPS = 24
"""Rows of a sheet that people still look at."""

MAX_COLUMNS = 16
"""Images of each commit of a range."""


class NotOurPicture(RegistryError):
    """A file that is to be written is there, and no picture that cns made."""

    def __init__(self, path: Path) -> None:
        self.path = path
        said = "is there and is no picture that cns made: expected another name, or --force to replace it"
        super().__init__(f"'{path}' {said}", "ls -l " + shlex.quote(str(path)))


@dataclass(frozen=True)
class Stop:
    """A model to make images with.

    Attributes:
        commit_id: Id of `commit`.
        tree: The commit's; what prompts see of it may be another choice than the tree's own.
    """

    commit_id: str
    commit: Commit
    tree: Tree


@dataclass(frozen=True)
class Plan:
    """A request that can be carried out.

    Attributes:
        stops: The models, the oldest first; one unless a range was asked for.
        regions: What each box shows (a concept's name or a prompt), and the box.
        paths: Where images go; one for a sheet.
        at: Id of the commit, or of both ends of the range.
        warnings: For the user.
    """

    repo: Repository
    stops: tuple[Stop, ...]
    regions: tuple[tuple[str, Box], ...]
    paths: tuple[Path, ...]
    at: str
    warnings: tuple[str, ...] = ()

    @cached_property
    def concepts(self) -> dict[str, str]:
        """Every concept that one of the models knows, by name: its id, that of the newest where it was taught anew."""
        return {name: concept for stop in self.stops for name, concept in stop.tree.concepts.items()}

    @property
    def is_range(self) -> bool:
        """Whether it is a journey through history, even of one commit."""
        return ".." in self.at


def plan_of(options: GenerateOptions) -> Plan:
    """Settle what a request means.

    Raises:
        NotARegistry, UnknownRevision, AmbiguousRevision: `options.at` means no commit, or no range.
        UnknownConcept: A region names none of the trees' concepts.
        RegionError: A region is malformed.
        RegistryError: The file cannot be written where it was asked for, or as what its name says.
        NotOurPicture: It would replace something else.
    """
    repo = Repository.discover(options.start)
    is_range = ".." in options.at
    ids = _range(repo, options.at) if is_range else [repo.resolve(options.at)]
    if is_range and options.n > MAX_COLUMNS:
        raise RegistryError(
            f"{options.n} images at each commit of a range; expected at most {MAX_COLUMNS}",
            f"cns generate … --at {options.at} -n {MAX_COLUMNS}",
        )
    stops = tuple(_stop(repo, one, options.compose) for one in _thinned(ids))
    thinned = (f"the range has {len(ids)} commits, of which {len(stops)} are shown",) * (len(stops) < len(ids))
    regions = tuple(split_region(text) for text in options.regions)
    paths = output_paths(options, one=options.grid or is_range)
    plan = Plan(repo, stops, regions, tuple(paths), f"{ids[0]}..{ids[-1]}" if is_range else ids[0], thinned)
    for what, _ in regions:
        if not is_prompt(what) and what not in plan.concepts:
            raise UnknownConcept(what, list(plan.concepts))
    picture_format(paths[0])
    if options.out is not None and not options.force:
        for path in paths:
            if not is_ours(path):
                raise NotOurPicture(path)
    return plan


def output_paths(options: GenerateOptions, *, one: bool = False) -> list[Path]:
    """Where each image goes: `-o FILE` (numbered when there are several), else a name made from the prompt.

    A picture of ours that `-o` names is replaced; a name made from the prompt is free now, and is taken when it is
    written. `{prompt}` and `{seed}` in the name that `-o` gives become words of the prompt, and the seed.

    Args:
        options: The request.
        one: A single file, whatever the number of images.

    Raises:
        RegistryError: The folder of the file does not exist, or its name has a place that nothing fills.
    """
    count = 1 if one else options.n
    stem = re.sub(r"[^a-z0-9]+", "-", options.prompt.lower()).strip("-")[:60] or "image"
    if options.out is None:
        candidates = (options.start / f"{stem}-{k}.png" for k in range(1, 1_000_000))
        free = (path for path in candidates if not path.exists())
        return [next(free) for _ in range(count)]
    target = options.out if options.out.suffix else options.out.with_suffix(".png")
    if not target.parent.is_dir():
        raise RegistryError(f"folder '{target.parent}' does not exist", f"mkdir -p {target.parent}")
    if other := re.search(r"\{(?!prompt\}|seed\})\w+\}", target.stem):
        meant = shlex.quote(target.name.replace(other[0], "{seed}"))
        raise RegistryError(
            f"nothing fills {other[0]} in '{target.name}': expected {{prompt}} or {{seed}}", f"-o {meant}"
        )
    named = target.stem.replace("{prompt}", stem)
    stems = [named.replace("{seed}", str(options.seed + k)) for k in range(count)]
    if count > 1 and "{seed}" not in named:
        stems = [f"{named}-{k + 1}" for k in range(count)]
    return [target.with_name(f"{one}{target.suffix}") for one in stems]


def _stop(repo: Repository, commit_id: str, compose: Compose | None) -> Stop:
    tree = repo.tree_of(commit_id)
    return Stop(commit_id, repo.commit_of(commit_id), composing(tree, compose) if compose else tree)


def _range(repo: Repository, text: str) -> list[str]:
    """Ids of the commits from A to B along first parents, the oldest first."""
    first, _, last = text.partition("..")
    ids = [repo.resolve(last or "HEAD")]
    begin = repo.resolve(first) if first else None
    while ids[-1] != begin and (parents := repo.commit_of(ids[-1]).parents):
        ids.append(parents[0])
    if begin is not None and ids[-1] != begin:
        raise UnknownRevision(
            text, f"'{first}' is not among the first parents of '{last or 'HEAD'}'; expected OLDER..NEWER", "cns log"
        )
    return ids[::-1]


def _thinned(ids: list[str]) -> list[str]:
    """At most `MAX_STOPS` of them, evenly, the first and the last among them."""
    if len(ids) <= MAX_STOPS:
        return ids
    step = (len(ids) - 1) / (MAX_STOPS - 1)
    return [ids[round(k * step)] for k in range(MAX_STOPS)]
