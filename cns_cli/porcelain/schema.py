"""`cns schema`: what each command prints with `--json`, as a JSON Schema.

`ANSWERS` is the one place that says which command answers with what. The schemas are made of those classes, so that
neither can say what the other does not. A version is part of each: a field that is renamed, removed or of another type
makes a new one, one more does not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from importlib.resources import files
from typing import Any, Union

from cns_cli import shapes
from registry.errors import RegistryError

ERROR = "error"
COMBINED = "combining.outcome.CombineResult"
REFS = "refs.RefsResult | refs.DeletedRef"
BISECTING = "bisect.BisectResult"
REMOTES = "remote.RemotesResult"

# Command -> its answer below `cns_cli.porcelain`; `[]` is a list of it, `{}` any object. The file of `check` says more
# than types can.
ANSWERS = {
    "init": "answers.InitResult",
    "clone": "clone.CloneResult",
    "add": "answers.AddResult | answers.DryRun | answers.EachResult",
    "import": "import_.ImportResult",
    "generate": "answers.GenerateResult | answers.GenerateResult[]",
    "check": "check.schema.json",
    "report": "report.ReportResult",
    "log": "views.commits.CommitView[]",
    "show": "show.ShowResult | pictures.files.PictureResult | views.neurons.NeuronsResult"
    " | views.provenance.ProvenanceResult | show.CurveResult",
    "diff": "views.difference.DiffResult",
    "blame": "views.blame.BlameResult",
    "status": "status.StatusResult",
    "checkout": "checkout.CheckoutResult",
    "switch": "checkout.CheckoutResult",
    "branch": REFS,
    "tag": REFS,
    "rm": "rm.RmResult | rm.RmResult[] | rm.RmPreview[]",
    "mv": "mv.MvResult",
    "erase": "erase.EraseResult",
    "merge": COMBINED,
    "cherry-pick": COMBINED,
    "revert": COMBINED,
    "reset": "reset.ResetResult",
    "undo": "undo.UndoResult",
    "push": "push.PushResult",
    "pull": "pull.PullResult",
    "fetch": "fetch.FetchResult",
    "remote add": REMOTES,
    "remote list": REMOTES,
    "remote set-url": REMOTES,
    "remote remove": REMOTES,
    "bundle create": "bundle.BundleResult",
    "bundle verify": "bundle.BundleResult",
    "bundle clone": "clone.CloneResult",
    "promote": "promote.AliasesResult | promote.PromoteResult | reflog.ReflogResult",
    "bisect start": BISECTING,
    "bisect good": BISECTING,
    "bisect bad": BISECTING,
    "bisect skip": BISECTING,
    "bisect run": BISECTING,
    "bisect reset": "bisect.ResetResult",
    "bisect log": "str[]",
    "verify": "verify.VerifyResult",
    "export": "answers.ExportResult",
    "mlflow sync": "mlflow.SyncResult",
    "mlflow restore": "mlflow.RestoreResult",
    "ui": "ui.UiResult",
    "reflog": "reflog.ReflogResult",
    "fsck": "fsck.FsckResult",
    "gc": "gc.GcResult",
    "purge": "purge.PurgeResult",
    "doctor": "doctor.DoctorResult",
    "config": "config.ConfigResult | config.PresetsResult",
    "schema": "{}",
    "completion": "completion.CompletionResult",
    ERROR: "answers.ErrorResult",
}

VERSIONS: dict[str, int] = {}
"""Versions above 1."""


class NoSchema(RegistryError):
    """A command that answers with no JSON, or that there is not."""

    def __init__(self, command: str) -> None:
        near = [name for name in ANSWERS if name.startswith(f"{command} ")] or get_close_matches(command, ANSWERS, n=1)
        super().__init__(f"no command {command!r} answers with JSON", f"cns schema {near[0]}" if near else "cns schema")


def name_of(command: str) -> str:
    """Return the `$id` of a command's schema: `cns-log/1`, `cns-bisect-run/1`."""
    return f"cns-{command.replace(' ', '-')}/{VERSIONS.get(command, 1)}"


def names() -> dict[str, str]:
    """Return the `$id` of each command's schema, and of an error's."""
    return {command: name_of(command) for command in ANSWERS}


def schema(words: Sequence[str]) -> shapes.Schema:
    """Return the JSON Schema of what a command prints with `--json`.

    Args:
        words: The command; `error` for what any command prints when it fails.

    Raises:
        NoSchema: there is none.
    """
    command = " ".join(words)
    if command not in ANSWERS:
        raise NoSchema(command)
    if command == "check":
        found: shapes.Schema = json.loads(files("cns_cli").joinpath(ANSWERS[command]).read_text(encoding="utf-8"))
        return found
    title = "What a command that fails prints" if command == ERROR else f"What `cns {command} --json` prints"
    kinds = [_kind(part) for part in ANSWERS[command].split(" | ")]
    return shapes.document(Union[tuple(kinds)], name_of(command), title)  # noqa: UP007  made of a list


def _kind(text: str) -> Any:
    """The annotation that a part of `ANSWERS` stands for."""
    if text == "{}":
        return Mapping[str, object]
    bare = text.removesuffix("[]")
    module, _, name = bare.rpartition(".")
    kind: Any = getattr(import_module(f"cns_cli.porcelain.{module}"), name) if module else str
    return list[kind] if text.endswith("[]") else kind
