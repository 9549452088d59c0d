"""Interrupted trainings: which ones wait, and what to tell the person who has just interrupted one.

What a state holds is for `resume.py` and `saving.py`; here only its facts are read, which costs `cns status` little.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, fields
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

from cns_cli.porcelain.options import AddOptions, Request, Spread
from cns_cli.porcelain.result import Result
from cns_cli.signals import Interrupted, number_of
from registry.objects import Concept, Tree
from registry.pending import Pending, State
from registry.repository import Repository

# Fields of `AddOptions` that are no option of a training.
NOT_TYPED = {"name", "images", "dry_run", "resume", "typed", *(option.name for option in fields(Request))}
_ESCAPED = "file:"  # no whole path begins so


@dataclass(frozen=True, kw_only=True)
class PendingView(Result):
    """A training that was interrupted.

    Attributes:
        done, total: Steps, token warm-up included.
        saved: Unix seconds.
        images: The folder that it was started with.
        command: What goes on with it.
    """

    name: str
    done: int
    total: int
    saved: int
    images: Path
    command: str


def pending_views(repo: Repository) -> list[PendingView]:
    """The trainings that wait to be resumed, the newest first; one a name."""
    views: dict[str, PendingView] = {}
    for state in Pending(repo.folder).all():
        if not unusable(state) and state.name not in views and not is_committed(repo, state):
            views[state.name] = _view(state)
    return list(views.values())


def told(stop: KeyboardInterrupt, repo: Repository, options: AddOptions, seen: Tree, *, recorded: bool) -> Interrupted:
    """What an interrupted `cns add` leaves, as the exception that says so.

    Args:
        stop: What interrupted it.
        repo: Where.
        options: The request.
        seen: HEAD's tree when it began.
        recorded: MLflow has the commit.
    """
    number, head = number_of(stop), repo.head()
    now = repo.tree_of(head.commit).concepts.get(options.name)
    if now is not None and now != seen.concepts.get(options.name):
        Pending(repo.folder).remove(options.name)
        lacking = "" if recorded else "; MLflow may lack it"
        what = f"{options.name} is committed as {head.commit[:10]}{lacking}"
        return Interrupted(number, what, "cns status" if recorded else "cns mlflow sync")
    waiting = [view for view in pending_views(repo) if view.name == options.name]
    if waiting:
        view = waiting[0]
        what = f"nothing was committed; the training of {view.name} is kept at step {view.done} of {view.total}"
        return Interrupted(number, what, f"{add_command(options.name, options.images)} --resume")
    return Interrupted(number, "nothing was committed; the training had not begun", "run the command again")


def text_of(path: Path) -> str:
    """A whole path as text that JSON can hold; one that is not UTF-8 is percent-encoded behind `file:`."""
    text = str(path)
    try:
        text.encode()
    except UnicodeEncodeError:
        return _ESCAPED + quote_from_bytes(os.fsencode(path))
    return text


def path_of(text: str) -> Path:
    """The path that `text_of` wrote down."""
    if not text.startswith(_ESCAPED):
        return Path(text)
    return Path(os.fsdecode(unquote_to_bytes(text.removeprefix(_ESCAPED))))


def add_command(name: str, images: Path) -> str:
    """What to type to begin a training."""
    return f"cns add {name or 'NAME'} {shlex.quote(str(images)) if images != Path() else 'IMAGES/'}"


def command_of(options: AddOptions) -> str:
    """What to type for this very training, from its beginning: every option that was given, quoted for a shell."""
    return " ".join((add_command(options.name, options.images), *map(shlex.quote, option_words(options))))


def option_words(options: AddOptions | Spread) -> list[str]:
    """The words of every option that was given."""
    words = []
    for option in fields(options):
        value = getattr(options, option.name)
        if option.name not in NOT_TYPED and value != option.default:
            said = [] if isinstance(value, bool) else [",".join(value) if isinstance(value, tuple) else str(value)]
            words += [flag_of(option.name, value), *said]
    return words


def flag_of(name: str, value: object = None) -> str:
    """How a field of `AddOptions` is typed."""
    flag = {"class_noun": "class", "continues": "continue"}.get(name) or name.replace("_", "-")
    return f"--no-{flag}" if value is False else f"--{flag}"


def _view(state: State) -> PendingView:
    return PendingView(
        name=state.name,
        done=int(state.facts["done"]),
        total=int(state.facts["total"]),
        saved=int(state.saved),
        images=path_of(state.facts["options"]["images"]),
        command=f"cns add {state.name} --resume",
    )


def unusable(state: State) -> str:
    """Why a state cannot be gone on from; empty where it can, as far as its facts say."""
    if state.damage:
        return state.damage
    wanted = {"options": dict, "request": dict, "done": int, "total": int}
    whole = all(isinstance(state.facts.get(name), kind) for name, kind in wanted.items())
    whole = whole and isinstance(state.facts["options"].get("images"), str)
    return "" if whole and isinstance(state.facts["request"].get("concepts"), dict) else "does not say what it is of"


def is_committed(repo: Repository, state: State) -> bool:
    """Whether HEAD holds the outcome of this very training: a kill between commit and clean-up leaves such a state."""
    concept = repo.tree_of(repo.head().commit).concepts.get(state.name)
    if concept is None or concept == state.facts["request"].get("replaces"):
        return False
    trained_on = repo.objects.get(repo.objects.get(concept, Concept).trained_on, Tree)
    return dict(trained_on.concepts) == state.facts["request"]["concepts"]
