"""The error boundary: one table from an error's type to an exit code, one place where errors become text.

Commands raise and never catch. The libraries' own error types are put in words here, with the next command; anything
else is a bug in this program and keeps its traceback. So an exit code of 1 always means: please report it.
"""

from __future__ import annotations

import errno
import re
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from enum import IntEnum
from pathlib import Path
from typing import Any

import typer

from cns.errors import EncoderMissingError, MethodError
from cns_cli import output, signals
from cns_cli.output import complain, write_raw
from cns_cli.settings import SettingsError
from registry.addresses import shown
from registry.errors import BadName, LockBusy, MlflowUnavailable, RegistryError
from registry.names import near_name
from registry.sharing.remote import RemoteError


class ExitCode(IntEnum):
    """What the shell is told; documented in `docs/quickstart.md`, and stable."""

    OK = 0
    BUG = 1
    USAGE = 2
    FORGOT = 3
    REGISTRY = 4
    METHOD = 5
    LOCK_BUSY = 6
    MISSING = 7
    REMOTE = 8
    INTERRUPTED = 130
    PIPE_CLOSED = 141  # 128 + SIGPIPE, as every Unix tool whose reader went away
    TERMINATED = 143  # 128 + SIGTERM: what services and batch systems send, and what they expect back


# The first class that an error is an instance of decides, so subclasses stand before their parents.
EXIT_CODES: dict[type[Exception], ExitCode] = {
    LockBusy: ExitCode.LOCK_BUSY,
    MlflowUnavailable: ExitCode.REMOTE,
    RemoteError: ExitCode.REMOTE,
    RegistryError: ExitCode.REGISTRY,
    EncoderMissingError: ExitCode.MISSING,
    MethodError: ExitCode.METHOD,
    SettingsError: ExitCode.USAGE,
}

# The machine refuses, and no line of ours can be blamed: full disk, no right to write, a broken disk, a folder that
# somebody removed, a name that is too long.
_MACHINE = {
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG, errno.EMFILE,
    errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP,
}  # fmt: skip
_OPTIONAL = {"torch", "diffusers", "transformers", "safetensors", "mlflow", "numpy", "PIL", "huggingface_hub"}


@contextmanager
def boundary(command: str, typed: Sequence[str] = ()) -> Iterator[None]:
    """Turn every error of a command into text on stderr and an exit code.

    Args:
        command: What was called, as it is typed; names the help page in the hint of a usage error.
        typed: The words behind it: no error advises to type them once more.

    Raises:
        typer.Exit: always, when the body raised.
    """
    try:
        yield
        if code := answered():
            raise typer.Exit(code)
    except (typer.Exit, SystemExit):
        raise
    except KeyboardInterrupt as stop:
        raise typer.Exit(_stopped(stop)) from None
    except BrokenPipeError:
        signals.hush()
        raise typer.Exit(ExitCode.PIPE_CLOSED) from None
    except Exception as error:  # noqa: BLE001  the one place where a bug is put in words; its traceback is kept
        came = signals.came()
        # A signal in the middle of a library's import can come out as any error.
        code = _explain(error, command, typed) if came is None else _stopped(signals.Interrupted(came))
        if isinstance(error, OSError):
            signals.hush()  # it may have come from stdout
        raise typer.Exit(code) from None


def answered(code: int = 0) -> int:
    """Write out what is still buffered of the answer, and return the exit code: where that fails, it is not 0.

    Args:
        code: What the command itself has to tell.

    Raises:
        BrokenPipeError: The reader went away.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        complain(f"the answer cannot be written: {error.strerror}", "free some space, or write it to another place")
        signals.hush()
        return code or ExitCode.REGISTRY
    return code


def exit_code(error: Exception) -> ExitCode:
    """Return the exit code that an error's type stands for; `BUG` for everything that is not ours."""
    if isinstance(error, typer.TyperException):
        return ExitCode.USAGE
    if isinstance(error, OSError) and error.errno in _MACHINE:
        return ExitCode.REGISTRY
    if _out_of_memory(error):
        return ExitCode.METHOD
    if _missing_package(error) or (
        isinstance(error, MlflowUnavailable) and isinstance(error.__cause__, ModuleNotFoundError)
    ):
        return ExitCode.MISSING
    return next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), ExitCode.BUG)


def _stopped(stop: KeyboardInterrupt) -> ExitCode:
    """Say that a signal ended the command, what became of its work, and what to type next."""
    terminated = signals.number_of(stop) == signal.SIGTERM
    became = getattr(stop, "message", "") or "nothing half-made is left behind"
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[?25h")  # a bar may have been about to hide the cursor
    code = ExitCode.TERMINATED if terminated else ExitCode.INTERRUPTED
    _say(code, f"{code.name.lower()}; {became}", getattr(stop, "hint", "") or "cns status")
    return code


def _explain(error: Exception, command: str, typed: Sequence[str]) -> ExitCode:
    code = exit_code(error)
    package = _missing_package(error)
    if code is ExitCode.BUG:
        import traceback

        write_raw(sys.stderr, "".join(traceback.format_exception(error)))
        said = (
            f"a bug in cns: {type(error).__name__}. Please report it with the lines above and what `cns --version` says"
        )
        _say(code, said)
    elif isinstance(error, typer.TyperException):
        _explain_usage(error, command, typed, code)
    elif package:
        _say(code, f"this needs the Python package {package!r}, which is not installed", f"pip install {package}")
    elif _out_of_memory(error):
        _say(
            code,
            "; ".join(("the memory is not enough for this", *getattr(error, "__notes__", ()))),
            "a smaller --batch or --resolution where the command has it, or --device cpu",
        )
    elif isinstance(error, OSError) and error.errno == errno.ENOENT and _nowhere():
        _say(code, "the current folder is not there any more", "go to a folder that is: cd ..")
    elif isinstance(error, OSError):
        where = f" {error.filename!r}" if error.filename else ""
        became = "; ".join(getattr(error, "__notes__", ("what was committed before is intact",)))
        _say(code, f"the system refused{where}: {error.strerror}; {became}", "cns status")
    else:
        facts: Any = error
        message = getattr(facts, "message", str(error))
        hint = getattr(facts, "hint", "") or _typed_rightly(error, command, typed)
        again = hint.split() == [command, *(word for word in typed if word != "--json")]
        if hint == "cns remote list" and typed[:1] in (["clone"], ["bundle"]):  # where there is no registry yet
            hint = f"{command} {typed[0]} --help"
        _say(code, "; ".join((message, *getattr(error, "__notes__", ()))), "cns doctor" if again else hint)
    return code


def _say(code: ExitCode, message: str, hint: str = "") -> None:
    """Put an error on stderr for people, and on stdout where JSON was asked for; addresses without what opens them."""
    complain(message, hint)
    _say_in_json(code, message, hint)


def _say_in_json(code: ExitCode, message: str, hint: str) -> None:
    if output.is_json_owed():
        from cns_cli.porcelain.answers import ErrorResult

        kind = code.name.lower()
        result = ErrorResult(error=shown(message), hint=shown(hint), exit_code=code, kind=kind)
        output.Output(as_json=True).answer(result.to_json(), ())


def _typed_rightly(error: Exception, command: str, typed: Sequence[str]) -> str:
    """What was typed, with an allowed name in the place of one that is not; else the command that says what may be."""
    near = near_name(str(error.value)) if isinstance(error, BadName) else ""
    if not isinstance(error, BadName) or near in ("", error.value) or error.value not in typed:
        return f"{command} {typed[0]} --help" if typed else ""
    return shlex.join([*command.split(), *(near if word == error.value else word for word in typed)])


def _explain_usage(error: typer.TyperException, command: str, typed: Sequence[str], code: ExitCode) -> None:
    """Print what was typed wrongly. Typer's own usage errors carry the context whose help page answers."""
    context: Any = getattr(error, "ctx", None)
    page = context.command_path if context is not None else " ".join((command, *typed[:1]))
    if type(error).__name__ == "NoArgsIsHelpError":
        write_raw(sys.stderr, error.format_message() + "\n")
        _say_in_json(code, "a command is missing", f"{page} --help")
        return
    text = error.format_message().replace("Value error, ", "")
    if context is not None and (option := getattr(error, "option_name", "")):
        from cns_cli.habits import about_option

        known = [name for parameter in context.command.params for name in parameter.opts]
        text = about_option(option, known, context.command.name) or text
    hint = getattr(error, "hint", "")
    if type(error).__name__ == "MissingParameter" and typed:
        hint = " ".join((command, shlex.join(typed), *_missing(error)))
    if not hint and (meant := _path_meant(text, typed)):
        hint = shlex.join([command, *meant])
    _say(code, text[:1].lower() + text[1:], hint or f"{page} --help")


def _missing(error: Any) -> list[str]:
    """What stands for the arguments that have to follow: the one that is missing, and those behind it."""
    known = error.ctx.command.params
    return [one.metavar for one in known[known.index(error.param) :] if one.required and one.metavar]


def _path_meant(text: str, typed: Sequence[str]) -> list[str]:
    """What was typed with the path that was meant: the file's folder, the word beside it, or one spelled nearly so."""
    found = re.search(r": (file|dir|path) '(.+)' (does not exist|is a file)\.$", text, re.IGNORECASE)
    if found is None or found[2] not in typed:
        return []
    at, path, words = typed.index(found[2]), Path(found[2]), list(typed)
    if found[3] == "is a file":
        words[at] = str(path.parent)
        return words
    fits = Path.is_dir if found[1].lower() == "dir" else Path.is_file
    for beside in (at - 1, at + 1):  # NAME IMAGES/, FILE NAME: one may stand in the place of the other
        if 0 < beside < len(words) and fits(Path(words[beside])):
            words[at], words[beside] = words[beside], words[at]
            return words
    near = get_close_matches(path.name, [one.name for one in _in_folder(path.parent) if fits(one)], n=1)
    words[at] = str(path.with_name(near[0])) if near else ""
    return words if near else []


def _in_folder(folder: Path) -> list[Path]:
    """What a folder holds, as far as it can be read."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _missing_package(error: Exception) -> str:
    """Return the name of the package without which the program starts but this verb cannot work; else ""."""
    if not isinstance(error, ModuleNotFoundError):
        return ""
    root = (error.name or "").split(".")[0]
    return root if root in _OPTIONAL else ""


def _out_of_memory(error: Exception) -> bool:
    """Whether memory, of the processor or of the GPU, gave out: torch has several errors for it, and is not loaded."""
    said = ("out of memory", "can't allocate memory", "not enough memory")
    torchs = isinstance(error, RuntimeError) and any(words in str(error) for words in said)
    return torchs or isinstance(error, MemoryError)


def _nowhere() -> bool:
    """Whether the folder that this runs in was removed."""
    try:
        Path.cwd()
    except OSError:
        return True
    return False
