"""The errors of the registry: one class a failure, its facts as attributes, the next command as `hint`.

Nothing here prints. A message says what is wrong with which value and what was expected; the shell adds the hint and
chooses the exit code by type. A failure that only one module knows has its class there, such as `BisectConflict`.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path

from registry.addresses import shown as without_secrets

SHORT = 10


class RegistryError(Exception):
    """A failure of the registry that a user can act on.

    Attributes:
        message: What is wrong with which value, and what was expected.
        hint: The next command to type; empty when there is none.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class NotARegistry(RegistryError):
    """No `.cns` folder at `folder` or above it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        super().__init__(f"no registry in '{folder}' or in any folder above: expected a folder '.cns'", "cns init")


class AlreadyARegistry(RegistryError):
    """`folder` holds a `.cns` already."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        super().__init__(f"'{folder}' already holds a registry: expected a folder without '.cns'", "cns status")


class ObjectMissing(RegistryError):
    """An object that something refers to is not in the store."""

    def __init__(self, object_id: str, expected: str = "object") -> None:
        self.object_id = object_id
        self.expected = expected
        super().__init__(
            f"{expected} {object_id[:SHORT]} is not in the store: expected the file objects/{object_id[:2]}/"
            f"{object_id[2:SHORT]}…",
            "cns mlflow restore",
        )


class ObjectCorrupt(RegistryError):
    """The stored bytes of an object are not the bytes that its id names."""

    def __init__(self, object_id: str, reason: str) -> None:
        self.object_id = object_id
        self.reason = reason
        super().__init__(f"object {object_id[:SHORT]} is corrupt: {reason}", "cns mlflow restore")


class WrongKind(RegistryError):
    """An object exists, but is of another kind than the one asked for."""

    def __init__(self, object_id: str, found: str, expected: str) -> None:
        self.object_id = object_id
        self.found = found
        self.expected = expected
        super().__init__(f"object {object_id[:SHORT]} is a {found}: expected a {expected}", "cns log")


class UnknownFormat(RegistryError):
    """Something was written in a format that this version does not read. It is left untouched."""

    def __init__(self, what: str, found: object, supported: object) -> None:
        self.what = what
        self.found = found
        self.supported = supported
        super().__init__(
            f"{what} has format {found!r}: this version reads {supported}; nothing was changed",
            "pip install --upgrade cns-cli",
        )


class BadValue(RegistryError):
    """A value that the stored format cannot hold."""

    def __init__(self, what: str, value: object, expected: str) -> None:
        self.what = what
        self.value = value
        self.expected = expected
        shown = repr(value)
        super().__init__(f"{what} is {shown if len(shown) <= 80 else shown[:77] + '…'}: expected {expected}")


class BadName(BadValue):
    """A concept, branch or tag name that is not allowed."""


class BadConfig(RegistryError):
    """`config.toml` cannot be read, or a key of it cannot be set."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"'{path}' is not usable: {reason}", f"edit {path}")


class RefCorrupt(RegistryError):
    """A ref or HEAD that is missing, or whose line does not match its checksum."""

    def __init__(self, name: str, path: Path, reason: str = "does not match its checksum") -> None:
        self.name = name
        self.path = path
        self.reason = reason
        super().__init__(
            f"{name} is corrupt: '{path}' {reason}; expected one line with an id and its checksum",
            "cns mlflow restore",
        )


class RefMoved(RegistryError):
    """A compare-and-swap found another value than expected; nothing was written."""

    def __init__(self, name: str, expected: str | None, found: str | None) -> None:
        self.name = name
        self.expected = expected
        self.found = found
        shown = [value[:SHORT] if value else "nothing" for value in (expected, found)]
        super().__init__(f"{name} is at {shown[1]}: expected {shown[0]}", "cns log")


class UnknownRevision(RegistryError):
    """No commit is meant by `revision`."""

    def __init__(self, revision: str, reason: str, hint: str = "cns log") -> None:
        self.revision = revision
        self.reason = reason
        super().__init__(f"no commit matches '{revision}': {reason}", hint)


class BranchInUse(RegistryError):
    """A branch that is to be deleted is the one that HEAD follows."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"HEAD is on branch '{name}': expected a branch that it is not on", "cns checkout OTHER")


class NameTaken(RegistryError):
    """A name that the tree, or the refs, already use; or a concept that is there under another name."""

    def __init__(self, name: str, what: str = "concept", holder: str | None = None, hint: str = "") -> None:
        self.name = name
        self.what = what
        self.holder = holder
        if holder is None:
            again = f"cns add {name} IMAGES/ --continue   (or --replace)" if what == "concept" else f"cns {what}"
            super().__init__(f"the {what} name '{name}' is taken: expected a new name", hint or again)
        else:
            super().__init__(f"'{name}' is the same {what} as '{holder}': expected one name a {what}", "cns status")


class TokenTaken(RegistryError):
    """Two concepts of one tree would share a special token, or one's would be read in the other's, `near`."""

    def __init__(self, token: str, name: str, holder: str, hint: str = "", near: str = "") -> None:
        self.token = token
        self.name = name
        self.holder = holder
        says = f"would be read for '{near}' of" if near not in ("", token) else "belongs to"
        super().__init__(
            f"the token '{token}' of '{name}' {says} '{holder}': expected a token of its own",
            hint or f"cns add {name} … --token OTHER",
        )


class DeltaTaken(RegistryError):
    """Two concepts of one tree would be the same delta, and it would be added once only."""

    def __init__(self, delta: str, name: str, holder: str) -> None:
        self.delta = delta
        self.name = name
        self.holder = holder
        super().__init__(
            f"'{name}' has the delta {delta[:SHORT]} of '{holder}': expected a delta of its own (the same images and "
            "settings come to the same one, and so does the same file)",
            f"cns mv {holder} {name}",
        )

    def told_of(self, name: str) -> DeltaTaken:
        """The same, told of the one of the two that was to be added."""
        return DeltaTaken(self.delta, name, self.holder if self.name == name else self.name)


class BaseDiffers(RegistryError):
    """Two trees that should be joined stand on different base models."""

    def __init__(self, found: str, expected: str) -> None:
        self.found = found
        self.expected = expected
        super().__init__(
            f"the tree stands on base {found[:SHORT]}: expected base {expected[:SHORT]}, which the change was made on",
            "cns log",
        )


class UnknownConcept(RegistryError):
    """A tree holds no concept of that name."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        self.name = name
        self.known = tuple(sorted(known))
        listed = f"expected one of: {', '.join(self.known[:20])}" if self.known else "it holds none yet"
        super().__init__(f"no concept '{name}' in this tree: {listed}", "cns status")


class LockBusy(RegistryError):
    """Another process holds the lock for longer than we wait."""

    def __init__(self, path: Path, waited_s: float, holder: str = "") -> None:
        self.path, self.waited_s, self.holder = path, waited_s, holder
        super().__init__(
            f"{holder or 'another process'} holds '{path}': waited {waited_s:g} s; the lock goes with that process",
            "run the command again",
        )


class TipMoved(RegistryError):
    """The branch moved meanwhile and the change does not fit on its new tip. The commit is kept under a ref.

    Attributes:
        lost_ref: The full name of the ref that keeps the commit.
        commit: The id of the kept commit.
        reason: Why the change does not fit.
    """

    def __init__(self, lost_ref: str, commit: str, reason: str) -> None:
        self.lost_ref = lost_ref
        self.commit = commit
        self.reason = reason
        super().__init__(
            f"the branch moved meanwhile, and the change does not fit on its new tip: {reason}; "
            f"nothing is lost: commit {commit[:SHORT]} is kept as {lost_ref}",
            f"cns show {lost_ref}",
        )


class NothingToDo(RegistryError):
    """The change leaves the tree as it is."""

    def __init__(self, what: str) -> None:
        super().__init__(f"nothing to do: {what} changes nothing in the tree", "cns status")


class DiskFailed(RegistryError):
    """The operating system refused a write. What was acknowledged before is intact.

    Attributes:
        action: What was tried: open, write, fsync, rename, mkdir, remove, read.
        path: On which file.
        errno: The system's error number.
    """

    def __init__(self, action: str, path: Path, error: OSError) -> None:
        self.action = action
        self.path = path
        self.errno = error.errno
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = "free some space, then run the command again" if full else "check the disk and its permissions"
        super().__init__(f"cannot {action} '{path}': {error.strerror or error}", hint)


class NotPlain(DiskFailed):
    """A registry holds plain files of bounded size; this one is a link, a pipe or too large, and was not read."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__("read", path, OSError(errno.EINVAL, f"it is {what}; expected a plain file of a registry"))
        self.what = what
        self.hint = "cns fsck"


class MlflowUnavailable(RegistryError):
    """MLflow could not be reached or used. The commits stand in the object store.

    Attributes:
        reason: Why. tracking_uri: Where MLflow is. Both without passwords and tokens, as message and hint are.
    """

    def __init__(
        self,
        reason: str,
        tracking_uri: str = "",
        hint: str = "cns mlflow sync",
        expected: str = "a store that takes this commit",
    ) -> None:
        self.reason = without_secrets(reason)
        self.tracking_uri = without_secrets(tracking_uri)
        where = f" at {self.tracking_uri}" if tracking_uri else ""
        super().__init__(
            f"MLflow{where} is not usable: {self.reason}; expected {expected}",
            without_secrets(hint),
        )
