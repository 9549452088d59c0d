"""Each kind of failure has its exit code, says what to type next, and shows no traceback unless it is a bug."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import cns.errors
import registry.errors
from cns_cli.errors import ExitCode, boundary, exit_code
from cns_cli.porcelain.config import BadSetting, SettingMissing
from cns_cli.settings import SettingsError
from registry.bisect import BisectConflict
from registry.bisect_state import BisectDamaged, NoBisection
from registry.health.gc import NotCollected
from registry.pending import StateCorrupt
from registry.sharing.remote import RemoteError
from registry.trust import Untrusted
from tests.cli.conftest import run


class Box:
    """Runs one failing body inside the boundary, as a command would."""

    def run(self, error: BaseException, command: str = "cns fail", typed: Sequence[str] = ()) -> Any:
        app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)

        @app.command()
        def fail() -> None:
            with boundary(command, typed):
                raise error

        return CliRunner().invoke(app, [])


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (cns.errors.ImageError("no image in 'x'", "cns add NAME IMAGES/"), 5),
        (cns.errors.ClassNounError("unsure", "cns add … --class dog"), 5),
        (cns.errors.EncoderMissingError("no judge"), 7),
        (registry.errors.NotARegistry(Path("x")), 4),
        (registry.errors.UnknownRevision("y", "no such name"), 4),
        (registry.errors.LockBusy(Path("lock"), 5), 6),
        (registry.errors.MlflowUnavailable("refused", "http://x"), 8),
        (SettingsError("SOURCE_DATE_EPOCH", "noon", "a number"), 2),
        (typer.BadParameter("no"), 2),
        (ModuleNotFoundError("No module named 'mlflow'", name="mlflow"), 7),
        (OSError(errno.ENOSPC, "No space left on device", "objects/ab"), 4),
        (KeyboardInterrupt(), 130),
        (ZeroDivisionError("oops"), 1),
        (ModuleNotFoundError("No module named 'cns.nothing'", name="cns.nothing"), 1),
        (FileNotFoundError(errno.ENOENT, "gone", "x"), 4),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x"), 4),
        (OSError(errno.EBADF, "Bad file descriptor"), 1),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), 5),
        (MemoryError(), 5),
    ],
    ids=lambda value: type(value).__name__,
)
def test_exit_code_and_traceback(error: BaseException, code: int) -> None:
    result = Box().run(error)
    assert result.exit_code == code
    assert result.stdout == ""
    assert "error: " in result.stderr
    assert ("Traceback" in result.stderr) is (code == 1)


def test_a_package_that_mlflow_lacks_is_a_missing_package() -> None:
    error = registry.errors.MlflowUnavailable("No module named 'psycopg'")
    error.__cause__ = ModuleNotFoundError("No module named 'psycopg'", name="psycopg")
    assert exit_code(error) is ExitCode.MISSING


def test_every_error_of_the_libraries_is_known() -> None:
    kinds: list[type[Exception]] = [cns.errors.MethodError, registry.errors.RegistryError]
    for kind in kinds:  # it grows meanwhile
        kinds += kind.__subclasses__()
        assert exit_code(kind.__new__(kind)) is not ExitCode.BUG
    beside_their_raisers = {BisectConflict, BisectDamaged, NoBisection, BadSetting, SettingMissing, NotCollected}
    assert beside_their_raisers | {StateCorrupt, Untrusted, registry.errors.LockBusy} <= set(kinds)


def test_the_hint_is_the_next_command() -> None:
    result = Box().run(registry.errors.NotARegistry(Path("x")))
    assert result.stderr.endswith("\n  try: cns init\n")


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        (["mlflow", "sync"], "cns doctor"),
        (["mlflow", "sync", "--json"], "cns doctor"),
        (["add", "rex", "x"], "cns mlflow sync"),
    ],
)
def test_no_error_advises_the_command_that_has_just_failed(typed: list[str], hint: str) -> None:
    result = Box().run(registry.errors.MlflowUnavailable("refused"), "cns", typed)
    assert result.stderr.endswith(f"  try: {hint}\n")


@pytest.mark.parametrize(
    ("typed", "hint"),
    [(["clone", "s3://x/y"], "cns clone --help"), (["bundle", "verify", "x"], "cns bundle --help"),
     (["push", "x"], "cns remote list")],
)  # fmt: skip
def test_where_there_may_be_no_registry_none_is_asked_for_its_remotes(typed: list[str], hint: str) -> None:
    assert Box().run(RemoteError("x", "refused"), "cns", typed).stderr.endswith(f"  try: {hint}\n")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("mv", "rex", "Böses Tier"), "cns mv rex Boses-Tier"),
        (("add", "my rex", ".", "--steps", "3"), "cns add my-rex . --steps 3"),
        (("branch", "a..b", "HEAD"), "cns branch a-b HEAD"),
        (("tag", "v1.lock"), "cns tag v1-lock"),
        (("branch", "main"), "cns branch"),
        (("show", "../photos/1.png"), "cns log"),
        (("checkout", "-b", "-x y"), "cns checkout -b x-y"),
        (("promote", "v1", "HEAD"), "cns promote --help"),
        (("mv", "rex", "犬"), "cns mv --help"),
        (("mv", "rex", "HEAD"), "cns mv --help"),
        (("add", "HEAD", "."), "cns add --help"),
        (("tag", "-d"), "cns tag --help"),
        (("mv", "rex"), "cns mv rex NEW"),
        (("mv",), "cns mv OLD NEW"),
        (("erase",), "cns erase dog"),
        (("generate", "--json"), 'cns generate "a <rex> dog in the snow"'),
        (("checkout",), "cns log --oneline"),
        (("generate", "a dog", "-o", "my pictures/{seed}.png"), "mkdir -p 'my pictures'"),
        (("report", "-o", "a/b/r.html"), "mkdir -p a/b"),
    ],
)
def test_what_cannot_be_meant_as_typed_is_answered_with_what_can(
    words: tuple[str, ...], hint: str, lineage: Any, cns: Any
) -> None:
    lineage.add("rex")
    result = cns(*words)
    assert result.exit_code in (ExitCode.USAGE, ExitCode.REGISTRY)
    assert result.stderr.endswith(f"\n  try: {hint}\n")
    assert "invalid value: missing" not in result.stderr


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("add", "photos/rex", "rex"), "cns add rex photos/rex"),
        (("add", "photos/rex"), "cns add rex photos/rex"),
        (("add", "photos/my dög"), "cns add my-dog 'photos/my dög'"),
        (("add", "rex", "photos/rexx", "--steps", "3"), "cns add rex photos/rex --steps 3"),
        (("add", "rex", "photos/rex/1.png"), "cns add rex photos/rex"),
        (("add", "--each", "photo", "--dry-run"), "cns add --each photos --dry-run"),
        (("init", "new one", "--base", "b"), "mkdir -p 'new one' && cns -C 'new one' init --base b"),
        (("init", "."), "mkdir -p . && cns -C . init"),
        (("add", "rex", "photos/zzz"), "cns add --help"),
        (("add", "rex", "nowhere/rex"), "cns add --help"),
        (("import", "mona", "style.safetensors"), "cns import style.safetensors mona"),
        (("generate", "--prompts", "photos/rex/1.pgn"), "cns generate --prompts photos/rex/1.png"),
    ],
)
def test_a_path_that_is_none_is_answered_with_the_one_that_was_meant(
    words: tuple[str, ...], hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cns: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("photos/rex", "photos/my dög"):
        Path(name).mkdir(parents=True)
    for name in ("photos/rex/1.png", "style.safetensors"):
        Path(name).touch()
    result = cns(*words)
    assert result.exit_code == ExitCode.USAGE
    assert result.stderr.endswith(f"\n  try: {hint}\n")


def test_where_there_is_no_concept_none_is_offered(lineage: Any, cns: Any) -> None:
    said = cns("rm", "rex").stderr
    assert said == "error: no concept 'rex' in this tree: it holds none yet\n  try: cns status\n"
    lineage.add("tom")
    assert "no concept 'rex' in this tree: expected one of: tom\n" in cns("rm", "rex").stderr


def test_what_became_of_the_work_stands_in_the_error() -> None:
    for error in (
        registry.errors.MlflowUnavailable("refused"),
        SettingsError("SOURCE_DATE_EPOCH", "noon", "a number"),
        OSError(errno.EIO, "Input/output error"),
    ):
        error.add_note("rex is committed as 3fa91c02ab")
        assert "; rex is committed as 3fa91c02ab\n" in Box().run(error).stderr


@pytest.mark.parametrize("words", [["status"], ["generate", "a dog"]])
def test_a_gone_current_folder_is_said(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    here.rmdir()
    result = run(*words)
    monkeypatch.chdir(tmp_path)
    assert result.exit_code == 4
    assert result.stderr.startswith("error: the current folder is not there any more\n")


def test_a_name_that_is_too_long_is_no_bug(lineage: Any, cns: Any) -> None:
    result = cns("generate", "a dog", "-o", "x" * 300 + ".png")
    assert result.exit_code == 4
    assert "File name too long" in result.stderr
    assert "Traceback" not in result.stderr


def test_memory_of_the_gpu_is_known_by_torch_s_own_error() -> None:
    import torch

    assert exit_code(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")) is ExitCode.METHOD


def test_a_message_cannot_control_the_terminal() -> None:
    for error in (registry.errors.BadName("name", "\x1b[2J\u202e", "letters"), RuntimeError("\x1b[2J\n\x9b")):
        text = Box().run(error).stderr
        assert not any(char in text for char in "\x1b\x9b\u202e")


@pytest.mark.parametrize(
    "words", [["nonsense"], ["--nonsense"], ["log", "--nonsense"], ["show", "-x"], ["add"], ["log", "-n", "x"], ["rm"]]
)
def test_a_wrong_command_line_is_usage(words: list[str], cns: Any) -> None:
    result = cns(*words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert "  try: cns " in result.stderr
    assert "--help" in result.stderr or words[-1] in ("add", "rm"), "of which it is known what to type"


def test_a_typo_in_a_verb_gets_a_proposal(cns: Any) -> None:
    assert cns("statsu").stderr == "error: there is no command 'statsu'\n  try: cns status\n"


@pytest.mark.parametrize(
    "words",
    [
        ["log"],
        ["show"],
        ["status"],
        ["checkout", "main"],
        ["rm", "rex"],
        ["branch"],
        ["tag"],
        ["mlflow", "sync"],
        ["generate", "a dog"],
        ["check"],
        ["export", "model"],
    ],
)
def test_without_a_registry_the_hint_is_init(words: list[str], cns: Any) -> None:
    result = cns(*words)
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.endswith("  try: cns init\n")
