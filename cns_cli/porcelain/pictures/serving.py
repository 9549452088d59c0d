"""Pictures on request, by one model that is loaded once: what a server holds of a promoted commit.

A request makes the very bytes that `cns generate PROMPT --at COMMIT` writes into a PNG with the same seed and settings,
since the same code makes them. Knows requests and files; nothing of servers.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

from cns.errors import BaseModelError, SettingsError
from cns.files.bases import check_base, resolve_base
from cns_cli.optionfield import Option
from cns_cli.porcelain.models.base import LoadedBase
from cns_cli.porcelain.models.device import asked_dtype, dtype_for
from cns_cli.porcelain.models.folder import base_folder
from cns_cli.porcelain.models.session import Session
from cns_cli.porcelain.options import GenerateOptions
from cns_cli.porcelain.pictures.plan import Plan, Stop
from cns_cli.porcelain.pictures.run import GenerateRun
from cns_cli.progress import NullProgress
from registry.errors import RegistryError
from registry.objects import Base
from registry.repository import Repository

FIELDS: Mapping[str, type] = {"prompt": str, "seed": int, "steps": int, "guidance": float, "negative": str}
"""What a request may say, and as what."""


class BadRequest(RegistryError):
    """A request for a picture cannot be meant; the hint is an example of one that can."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            reason, '{"prompt": "a <rex> dog", "seed": 7, "steps": 20, "guidance": 5.0, "negative": "blue"}'
        )


class PictureService:
    """The model that HEAD of a registry means, loaded.

    Args:
        root: Folder of the registry, which is only read.
        base: Folder or hub id of the base on this machine; None: what the registry says.
        device: auto, cpu, cuda or mps.

    Raises:
        BaseModelError: the base is not on this machine, or it is another one, by the digests of its files.
    """

    def __init__(self, root: Path, base: str | None = None, device: str = "auto") -> None:
        repo = Repository(root)
        commit_id = repo.head().commit
        stop = Stop(commit_id, repo.commit_of(commit_id), repo.tree_of(commit_id))
        facts = repo.objects.get(stop.tree.base, Base)
        try:
            folder = resolve_base(base, local_files_only=True) if base else base_folder(repo)
            check_base(folder, facts.components)
        except BaseModelError as error:
            error.add_note("name the folder of the base model on this machine: export CNS_BASE=FOLDER")
            raise
        self.plan = Plan(repo, (stop,), (), (Path("picture.png"),), commit_id)
        self.session = Session(
            repo, LoadedBase.open(folder, facts, device, dtype_for(asked_dtype(repo, "auto"), device))
        )
        self._turn = threading.Lock()  # a pipeline makes one picture at a time, and a server has several threads

    def picture(self, request: Mapping[str, Any]) -> tuple[bytes, int]:
        """Make one picture and return its file, a PNG that says how it was made, and its seed.

        Args:
            request: `FIELDS`; without a seed it is 0, and what else is missing is the base family's default.

        Raises:
            BadRequest: it cannot be meant.
        """
        options = GenerateOptions(**_checked(request))
        with self._turn:
            try:
                (data,) = GenerateRun(options, self.plan, self.session, NullProgress()).files()
            except SettingsError as error:  # steps that the scheduler cannot make
                raise BadRequest(error.message) from error
        return data, options.seed


def _checked(request: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a request, by the rules of the command line."""
    if not isinstance(request.get("prompt"), str):
        raise BadRequest(f"a request says {_names(request)}; expected a prompt, which is a text")
    if unknown := set(request) - set(FIELDS):
        raise BadRequest(f"a request says {_names(unknown)}; expected {_names(FIELDS)} alone")
    hints = get_type_hints(GenerateOptions, include_extras=True)
    rules = {name: next(one for one in hints[name].__metadata__ if isinstance(one, Option)) for name in request}
    return {name: _value(name, value, rules[name]) for name, value in request.items()}


def _value(name: str, value: Any, rule: Option) -> Any:
    try:
        made = FIELDS[name](value)
        same = made == value and not isinstance(value, bool)  # 7.0 is a seed: a table with a gap holds such numbers
        low = rule.min is None or made >= rule.min
        if not (same and low and (rule.max is None or made <= rule.max)):
            raise ValueError(f"{value!r} is not {_expected(rule, FIELDS[name])}")
        return rule.check(made) if rule.check else made
    except (TypeError, ValueError, OverflowError) as error:
        raise BadRequest(f"{name}: {error}") from error


def _expected(rule: Option, kind: type) -> str:
    what = {int: "a whole number", float: "a number", str: "a text"}[kind]
    least = "" if rule.min is None else f" of at least {rule.min:g}"
    return what + least + ("" if rule.max is None else f" and at most {rule.max:g}")


def _names(words: Any) -> str:
    return ", ".join(sorted(map(str, words))) or "nothing"
