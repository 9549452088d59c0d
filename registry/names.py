"""Names of concepts, branches and tags, and how a ref name becomes a file name.

A name travels to terminals, URLs, MLflow and case-blind file systems, so it is plain ASCII. Case is kept apart on every
file system: in a file name an upper-case letter is written '+' and the letter in lower case, and '/' is '='.
"""

from __future__ import annotations

import re
import unicodedata

from registry.errors import BadName

EXPECTED = "1 to 64 of A-Z a-z 0-9 . _ - starting with a letter or digit, without '..' and not ending in '.lock'"
MAX_REF_LENGTH = 200
ALIAS_EXPECTED = (
    "1 to 64 of A-Z a-z 0-9 _ - starting with a letter or digit; not HEAD, latest or v1, v2, ..., which mean something"
    " already, and not starting with branch-, tag-, lost-, remote- or alias-, as MLflow's aliases of refs do"
)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ALIAS = re.compile(r"(?!(?i:head|latest|v\d+)$)(?!(?:branch|tag|lost|remote|alias)-)[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_ID = re.compile(r"[0-9a-f]{64}")
_ENCODED = re.compile(r"(?:[a-z0-9._=-]|\+[a-z])+")


def is_id(value: object) -> bool:
    """True for a full object id: 64 lower-case hex digits."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def is_name(value: object) -> bool:
    """True for an allowed concept name (and for one part of a branch or tag name)."""
    return (
        isinstance(value, str)
        and _NAME.fullmatch(value) is not None
        and ".." not in value
        and not value.lower().endswith(".lock")
    )


def check_name(value: str, what: str = "concept name") -> str:
    """Return value, or raise BadName."""
    if not is_name(value):
        raise BadName(what, value, EXPECTED)
    return value


def check_new_name(value: str) -> str:
    """Return the name of a concept to come, or raise BadName; HEAD, as a revision, would never mean that concept."""
    if value == "HEAD":
        raise BadName("concept name", value, f"{EXPECTED}; not HEAD")
    return check_name(value)


def near_name(value: str) -> str:
    """Return an allowed name, of any kind, that is spelled nearly as value; empty where nothing of it may stand."""
    plain = unicodedata.normalize("NFKD", value).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9_-]+", "-", plain)[:64].strip("-_")


def is_ref_name(value: object) -> bool:
    """True for an allowed branch or tag name: names joined by '/', at most 200 characters; not HEAD."""
    return (
        isinstance(value, str)
        and value != "HEAD"
        and len(value) <= MAX_REF_LENGTH
        and all(is_name(part) for part in value.split("/"))
    )


def check_ref_name(value: str, what: str = "branch name") -> str:
    """Return value, or raise BadName."""
    if not is_ref_name(value):
        raise BadName(what, value, f"{EXPECTED}; parts may be joined by '/'; not HEAD")
    return value


def is_alias(value: object) -> bool:
    """True for an allowed alias: a ref name that MLflow takes as it is, and that no other ref's alias there can be."""
    return isinstance(value, str) and _ALIAS.fullmatch(value) is not None


def check_alias(value: str) -> str:
    """Return value, or raise BadName."""
    if not is_alias(value):
        raise BadName("alias", value, ALIAS_EXPECTED)
    return value


def file_name(name: str) -> str:
    """Return the file name of a ref name, the same on case-blind file systems: 'Rex/a' -> '+rex=a'."""
    return "".join(f"+{letter.lower()}" if letter.isupper() else letter for letter in name).replace("/", "=")


def name_of_file(encoded: str) -> str | None:
    """Return the ref name that `file_name` encoded, or None for any other file."""
    if _ENCODED.fullmatch(encoded) is None or encoded.startswith("."):
        return None
    return re.sub(r"\+([a-z])", lambda match: match.group(1).upper(), encoded).replace("=", "/")
