"""R14's program: runs command lines in this process under an audit hook, and writes down what must not happen.

    python audited.py PLAN FINDINGS

PLAN is JSON: {"folder", "allowed" (folders and files that may be written), "commands" (lists of words)}. Python tells
its audit hooks of every file it opens, every socket, process and pickle, whoever in whatever library asks for it. What
native code writes by itself it does not tell: `audit.py` compares the folders around for that.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
PROCESSES = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "pty.spawn"}
PICKLES = {"pickle.find_class"}
MARSHAL = {"marshal.loads", "marshal.load"}
PATHS = {
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "os.chown",
    "os.utime",
    "shutil.rmtree",
    "shutil.move",
    "shutil.copyfile",
    "shutil.copytree",
    "shutil.make_archive",
    "shutil.unpack_archive",
}
TARGET_IS_SECOND = {"shutil.copyfile", "shutil.copytree", "os.link", "os.symlink"}
DIRECTORY_FD = {"os.remove": 1, "os.rmdir": 1, "os.mkdir": 2}  # which argument is the folder that a path is relative to
# urllib3, as it is imported, binds a socket to ::1 and closes it, to learn whether there is an IPv6. Nothing is sent.
PROBES = {"socket.__new__", "socket.bind"}
PROBE = ("urllib3/util/connection.py", "_has_ipv6")
DEVICES = ("/dev/null", "/dev/tty", "/proc/", "/sys/")


class Audit:
    """The hook. It is never taken off."""

    def __init__(self, allowed: list[str]) -> None:
        self.allowed = [os.path.realpath(place) for place in allowed]
        self.command = "start"
        self.found: list[dict[str, str]] = []
        self.busy = False

    def hook(self, event: str, args: tuple[Any, ...]) -> None:
        if self.busy:
            return
        self.busy = True
        try:
            told = self.judge(event, args)
            if told:
                self.found.append({"command": self.command, "event": event, "what": told, "from": caller()})
        finally:
            self.busy = False

    def judge(self, event: str, args: tuple[Any, ...]) -> str:
        """What is wrong with an event, or ""."""
        if event in PICKLES or event in PROCESSES or event.startswith("socket."):
            return "" if event in PROBES and called_from(PROBE) else repr(args)[:200]
        if event in MARSHAL:
            # Compiled modules are marshalled: that is how Python itself imports, from folders that a user installed.
            return "" if importing() else "marshal outside of an import"
        if event == "open":
            path, _, flags = args
            return "" if not flags & WRITING else self.outside(path)
        if event == "sqlite3.connect":
            name = str(args[0]).removeprefix("file:").partition("?")[0]
            return "" if name == ":memory:" else self.outside(name)
        if event in DIRECTORY_FD and len(args) > DIRECTORY_FD[event] and args[DIRECTORY_FD[event]] not in (None, -1):
            return self.outside(f"/proc/self/fd/{args[DIRECTORY_FD[event]]}/{os.fsdecode(args[0])}", devices=())
        if event in PATHS:
            places = (
                args[1:2]
                if event in TARGET_IS_SECOND
                else args[:2]
                if event in ("os.rename", "shutil.move")
                else args[:1]
            )
            return "; ".join(filter(None, (self.outside(place) for place in places)))
        return ""

    def outside(self, place: Any, devices: tuple[str, ...] = DEVICES) -> str:
        if isinstance(place, int):
            return ""  # a descriptor: whatever opened it was looked at
        text = os.fsdecode(place)
        if devices and text.startswith(devices):
            return ""
        real = os.path.realpath(text)
        beside = (os.sep, ".tmp-")  # `init` builds a registry as `.cns.tmp-…` and renames it into place
        inside = any(real == known or real.startswith(tuple(known + end for end in beside)) for known in self.allowed)
        return "" if inside else f"{text} is written"


def importing() -> bool:
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib") or frame.f_code.co_filename.endswith(
            "zipimport.py"
        ):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def called_from(place: tuple[str, str]) -> bool:
    """True where a function of a file is among the callers."""
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename.endswith(place[0]) and frame.f_code.co_name == place[1]:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def caller() -> str:
    """The innermost few frames, to see whose doing it was."""
    frame, names = sys._getframe(2), []
    while frame is not None and len(names) < 12:
        names.append(f"{frame.f_code.co_filename.rpartition('site-packages/')[2]}:{frame.f_lineno}")
        frame = frame.f_back  # type: ignore[assignment]
    return " < ".join(names)


def run_commands(folder: Path, commands: list[list[str]], audit: Audit) -> list[dict[str, Any]]:
    """Run each command line as the script `cns` does; return exit codes."""
    from cns_cli.main import main

    ended = []
    for words in commands:
        audit.command = "cns " + " ".join(words)
        sys.argv = ["cns", *words]
        os.chdir(folder)
        code: Any = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code
        ended.append({"command": audit.command, "code": code or 0})
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
    return ended


def main_program() -> None:
    plan = json.loads(Path(sys.argv[1]).read_text())
    target = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    audit = Audit(plan["allowed"])
    sys.addaudithook(audit.hook)
    from tests.steps import take_few_steps

    take_few_steps()
    ended = run_commands(Path(plan["folder"]), plan["commands"], audit)
    audit.busy = True
    folder = os.path.realpath(plan["folder"]) + os.sep
    files = {name: getattr(module, "__file__", None) or "/" for name, module in list(sys.modules.items())}
    strangers = [
        name for name, file in files.items() if os.path.exists(file) and os.path.realpath(file).startswith(folder)
    ]
    report = {"found": audit.found, "ended": ended, "strangers": strangers}
    os.write(target, json.dumps(report).encode())


if __name__ == "__main__":
    sys.path.pop(0)  # the folder of this file, which the script `cns` does not have either
    main_program()
