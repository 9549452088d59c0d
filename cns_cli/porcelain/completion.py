"""`cns completion`: the scripts that ask for candidates, where they are put, and the names that a registry knows.

A script hands the words of the command line back to `cns completion SHELL --` at every TAB and gets a candidate a line,
a tab, and a few words on it; an empty candidate stands for files. So a shell's script never changes with the commands.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cns.provenance import CHOICES
from cns.scores import BUILT_IN
from cns_cli import settings
from cns_cli.files import write_output
from cns_cli.porcelain.metrics import METRIC_NAMES
from cns_cli.porcelain.result import Result
from registry.addresses import shown
from registry.errors import RegistryError
from registry.repository import Repository

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".avif")

_BASH = r"""# Completion of cns for bash.
_cns() {
  local line IFS=
  COMPREPLY=()
  while read -r line; do
    case "${line%%$'\t'*}" in
      '') compopt -o default ;;
      */) compopt -o nospace; COMPREPLY+=("$(printf %q "${line%%$'\t'*}")") ;;
      *) COMPREPLY+=("$(printf %q "${line%%$'\t'*}")") ;;
    esac
  done < <(command cns completion bash -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _cns cns
"""

_ZSH = r"""#compdef cns
_cns() {
  local -a found
  local line
  local -i files=0
  while IFS= read -r line; do
    if [[ -z "${line%%$'\t'*}" ]]; then
      files=1
    else
      found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
    fi
  done < <(command cns completion zsh -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)
  (( $#found )) && _describe cns found
  (( files )) && _files
}
if [[ "$funcstack[1]" == _cns ]]; then
  _cns "$@"
else
  (( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
  compdef _cns cns
fi
"""

_FISH = r"""# Completion of cns for fish.
function __cns_complete
    set -l words (commandline -opc)
    set -l word (commandline -ct)
    for line in (command cns completion fish -- $words[2..] "$word" 2>/dev/null)
        if string match -q -- \t'*' $line
            __fish_complete_path "$word"
        else
            echo $line
        end
    end
end
complete -c cns -f -a '(__cns_complete)'
"""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


class NoShell(RegistryError):
    """A shell that there is no completion for, or none is known."""

    def __init__(self, shell: str) -> None:
        what = f"there is no completion for {shell!r}" if shell else "$SHELL names no shell"
        super().__init__(f"{what}; expected {', '.join(SCRIPTS)}", "cns completion bash")


@dataclass(frozen=True, kw_only=True)
class CompletionResult(Result):
    """How a shell completes command lines.

    Attributes:
        shell: bash, zsh or fish.
        script: What the shell has to read.
        written: Files that were written or added to, by `--install`.
    """

    shell: str
    script: str
    written: tuple[Path, ...] = ()


def completion(shell: str | None = None, *, install: bool = False) -> CompletionResult:
    """Return the script of a shell, and put it where that shell looks for it.

    Args:
        shell: bash, zsh or fish; None takes the user's.
        install: Write the script, and for bash and zsh a line into the file that they begin with, once.

    Raises:
        NoShell: none of the three. DiskFailed: the system refused.
    """
    shell = shell or Path(settings.shell()).name
    if shell not in SCRIPTS:
        raise NoShell(shell)
    return CompletionResult(shell=shell, script=SCRIPTS[shell], written=_install(shell) if install else ())


def names(kind: str, word: str, start: Path) -> Iterator[tuple[str, str]]:
    """Yield what may stand for a kind of thing, with what it is; nothing where there is no registry, or a broken one.

    Args:
        kind: As in `cns_cli.completing`.
        word: What is there of it.
        start: Folder to look for `.cns` from, upwards.
    """
    if kind == "shown":
        yield from _pictures(word, start)
    if kind in _FIXED:
        yield from _FIXED[kind]()
        return
    try:
        repo = Repository.discover(start)
        found = list(_named(repo, "revision" if kind == "shown" else kind))
    except (RegistryError, OSError):
        return
    before = word[: word.rindex("..") + 2] if ".." in word else ""  # the end of a range
    yield from ((before + name, about) for name, about in found)


def _named(repo: Repository, kind: str) -> Iterator[tuple[str, str]]:
    """The names of one kind that a registry knows."""
    if kind in ("revision", "ref"):
        yield "HEAD", "where the model is"
    if kind in ("revision", "ref", "branch"):
        yield from ((name, "branch") for name in repo.branches())
    if kind in ("revision", "tag"):
        yield from ((name, "tag") for name in repo.tags())
    if kind in ("revision", "ref", "alias"):
        yield from ((name, "alias") for name in repo.aliases())
    if kind in ("revision", "concept"):
        yield from ((name, "concept") for name in repo.tree_of("HEAD").concepts)
    if kind == "remote":
        from registry.sharing.remotes import named

        yield from ((name, shown(one.address)) for name, one in named(repo).items())


def _pictures(word: str, start: Path) -> Iterator[tuple[str, str]]:
    """Pictures in the folder that a word begins with, and the folders there."""
    folder = word[: word.rfind("/") + 1]
    try:
        found = sorted((start / folder).iterdir())
    except OSError:
        return
    for path in found:
        if path.name.startswith(".") and not word.removeprefix(folder).startswith("."):
            continue
        if path.suffix.lower() in PICTURES:
            yield folder + path.name, "picture"
        elif path.is_dir():
            yield f"{folder}{path.name}/", "folder"


def _settings() -> Iterator[tuple[str, str]]:
    from cns_cli.porcelain.config import KEYS

    yield from ((key.rstrip("…"), "setting") for key in KEYS)


def _formats() -> Iterator[tuple[str, str]]:
    from cns_cli.porcelain.exchange.formats import FORMATS

    yield from ((name, row.about) for name, row in FORMATS.items())


def _commands() -> Iterator[tuple[str, str]]:
    from cns_cli.porcelain.schema import ANSWERS

    yield from dict.fromkeys((name.split()[0], "command") for name in ANSWERS)


_FIXED: dict[str, Callable[[], Iterable[tuple[str, str]]]] = {
    "score": lambda: ((name, "score") for name in BUILT_IN),
    "reg": lambda: ((name, "regularizer") for name in sorted(CHOICES["reg"].values)),
    "metric": lambda: ((name, "metric") for name in METRIC_NAMES),
    "shell": lambda: ((name, "shell") for name in SCRIPTS),
    "setting": _settings,
    "format": _formats,
    "command": _commands,
}


def _install(shell: str) -> tuple[Path, ...]:
    """Write a shell's script where it looks for it; bash and zsh are told of it by a line in what they begin with."""
    data, config = settings.user_folders()
    places = {
        "bash": (data / "bash-completion" / "completions" / "cns", Path.home() / ".bashrc"),
        "zsh": (data / "zsh" / "site-functions" / "_cns", settings.zsh_folder() / ".zshrc"),
        "fish": (config / "fish" / "completions" / "cns.fish", None),
    }
    script, begins = places[shell]
    script.parent.mkdir(parents=True, exist_ok=True)
    write_output(script, SCRIPTS[shell])
    if begins is None:
        return (script,)
    line = "[ -r {0} ] && . {0}  # completion of cns".format(shlex.quote(str(script)))
    before = begins.read_text(encoding="utf-8", errors="surrogateescape") if begins.exists() else ""
    if line in before.splitlines():
        return (script,)
    gap = "" if before.endswith("\n") or not before else "\n"
    write_output(begins, f"{before}{gap}{line}\n".encode(errors="surrogateescape"))
    return script, begins
