"""`cns add --resume`: which saved state a request goes on from, and why it cannot.

A state is filed under its concept's name and a digest of the request: everything that the training's bits hang on.
`cns add NAME IMAGES/ --resume` takes the newest state of the name whose options are those that were given; an option
that is not given is taken from the state. Without `--resume` a training starts anew, and a state of another request
stays until the name is committed. Nothing here imports torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from cns.errors import MethodError
from cns.files.images import MAX_FILE_BYTES, scan_folder
from cns.files.plain import read_regular_file, reason_of
from cns_cli.porcelain.learning.interrupted import (
    NOT_TYPED,
    add_command,
    command_of,
    flag_of,
    is_committed,
    path_of,
    text_of,
    unusable,
)
from cns_cli.porcelain.options import AddOptions
from registry import canonical
from registry.errors import RegistryError
from registry.objects import Tree
from registry.pending import Pending, State, StateCorrupt
from registry.repository import Repository
from registry.trees import trained_in

# What a training does not hang on: may be given anew with --resume.
FREE = ("check", "message", "keep_images", "samples")
SHAPING = tuple(option.name for option in fields(AddOptions) if option.name not in {*NOT_TYPED, *FREE})


def key_of(request: Mapping[str, Any]) -> str:
    """The key of a request's states: hex digits of its digest."""
    return hashlib.sha256(canonical.encode(dict(request))).hexdigest()[:16]


def facts_of(options: AddOptions, request: Mapping[str, Any], done: int, total: int) -> dict[str, Any]:
    """What is saved beside a state, so that it can be listed and checked without torch."""
    given = {name: getattr(options, name) for name in (*SHAPING, *FREE)}
    saved = {**given, "images": text_of(options.images.resolve())}
    return {"options": saved, "request": dict(request), "done": done, "total": total}


def continued(options: AddOptions, repo: Repository) -> tuple[AddOptions, State]:
    """Complete the options of `cns add --resume` by those of the state that it goes on from.

    Raises:
        MethodError: There is no such state, more than one could be meant, or what was given differs from it.
        StateCorrupt: The state is damaged.
    """
    found = [state for state in Pending(repo.folder).all() if options.name in ("", state.name)]
    for state in found:
        if not unusable(state) and is_committed(repo, state):
            Pending(repo.folder).remove(state.name)
            over = f"the training of '{state.name}' is over and committed: expected nothing more to do"
            raise RegistryError(over, "cns status")
    names = sorted({state.name for state in found})
    if not found:
        whose = f" of '{options.name}'" if options.name else ""
        raise MethodError(
            f"no interrupted training{whose} waits to be resumed", add_command(options.name, options.images)
        )
    if len(names) > 1:
        raise MethodError(
            f"{len(names)} interrupted trainings wait: {', '.join(names)}; expected the name of one",
            f"cns add {names[0]} --resume",
        )
    for state in found:
        if damage := unusable(state):
            raise StateCorrupt(state.name, state.path, damage)
        if not _conflicts(options, state):
            break
    else:
        state = found[0]
        raise differs(options, state, _conflicts(options, state))
    merged = _merged(options, state)
    early = [*_moved(repo, state, merged), *_changed_images(state, merged.images)]
    if early:
        raise differs(options, state, early)
    return merged, state


def differs(options: AddOptions, state: State, differences: list[str]) -> MethodError:
    """The error of a state that belongs to another request than these options."""
    where = f"step {state.facts['done']} of {state.facts['total']}"
    return MethodError(
        f"the interrupted training of '{state.name}' ({where}) cannot go on, since {'; '.join(differences)}",
        command_of(_merged(options, state)) + "   (starts anew)",
    )


def differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Say how two requests differ, a phrase each."""
    said = []
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            said += differences(old, new, f"{key} " if key in ("images", "masks", "concepts", "versions") else "")
        elif old != new:
            said.append(f"{prefix}{key.replace('_', ' ')} {_was(old, new)}")
    return said


def _given(options: AddOptions) -> dict[str, Any]:
    """The options that were given now: those that are not as by default, and those that were typed."""
    values = {option.name: (getattr(options, option.name), option.default) for option in fields(AddOptions)}
    return {
        name: values[name][0]
        for name in (*SHAPING, *FREE)
        if name in options.typed or values[name][0] != values[name][1]
    }


def _conflicts(options: AddOptions, state: State) -> list[str]:
    given, stored = _given(options), state.facts["options"]
    unlike = [name for name in SHAPING if name in given and given[name] != stored.get(name)]
    return [f"{flag_of(name)} {_was(stored.get(name), given[name])}" for name in unlike]


def _merged(options: AddOptions, state: State) -> AddOptions:
    """The options as they were, and in their place what was given now."""
    stored = state.facts["options"]
    known: dict[str, Any] = {name: stored[name] for name in (*SHAPING, *FREE) if name in stored}
    given = {name: value for name, value in _given(options).items() if name in known}
    images = options.images if options.images != Path() else path_of(stored["images"])
    return replace(options, **{**known, **given}, name=state.name, images=images)


def _moved(repo: Repository, state: State, options: AddOptions) -> list[str]:
    tree = repo.tree_of(repo.head().commit)
    parent = trained_in(tree, options.name)
    now = {"concepts": parent.concepts, "replaces": tree.concepts.get(options.name), **model_of(parent)}
    return differences({name: state.facts["request"].get(name) for name in {*now, "compose", "erasure"}}, now)


def model_of(parent: Tree) -> dict[str, str]:
    """What else of the model a request hangs on: what prompts see, if not all, and what is erased, if anything."""
    said = {"compose": parent.compose if parent.compose != "all" else None, "erasure": parent.erasure}
    return {name: value for name, value in said.items() if value}


def _changed_images(state: State, folder: Path) -> list[str]:
    digests = {}
    for path in scan_folder(folder):
        try:
            digests[path.name] = hashlib.sha256(read_regular_file(path, MAX_FILE_BYTES)).hexdigest()
        except OSError as error:
            digests[path.name] = reason_of(error)
    return differences({"images": state.facts["request"].get("images", {})}, {"images": digests})


def _was(old: object, new: object) -> str:
    if old is None:
        return f"is new: {_short(new)}"
    return "is gone" if new is None else f"is {_short(new)}, and was {_short(old)}"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:10] + "…"
