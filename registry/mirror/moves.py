"""A move of a ref as the tags of an MLflow model version, and back.

Databases differ in what they take: Postgres refuses texts that SQLite keeps. So the tags are printable ASCII, which
stays as it is for a reader; the rest is percent-encoded. This module opens nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

from registry.mirror.runs import LONGEST_TAG
from registry.names import is_id
from registry.sharing.remote import Move

PLAIN = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


def tags_of(move: Move) -> dict[str, str]:
    """Return the tags of a move's version: ASCII alone, and no longer than MLflow takes."""
    texts = {"ref": move.ref, "old": move.old, "new": move.new, "author": move.author, "message": move.message}
    found = {key: _plain(value) for key, value in texts.items() if value}
    return found | {"time": str(move.time), "nonce": move.nonce}


def move_of(tags: Mapping[str, str]) -> Move | None:
    """Return the move that a version's tags tell; None for a version that is no move."""
    old, new, nonce = tags.get("old"), tags.get("new"), tags.get("nonce", "")
    ref, when = unquote(tags.get("ref", "")), tags.get("time", "")
    ends_are_ids = all(end is None or is_id(end) for end in (old, new))
    if not (ref.startswith("refs/") and ends_are_ids and re.fullmatch("[0-9a-f]{32}", nonce)):
        return None
    if not re.fullmatch(r"-?[0-9]{1,18}", when):
        return None
    author, message = (unquote(tags.get(key, ""), errors="ignore") for key in ("author", "message"))
    return Move(ref, old, new, author, int(when), message, nonce)


def _plain(text: str) -> str:
    """Return a text in printable ASCII, cut to the length of a tag; `unquote` gives it back."""
    return re.sub("%.?$", "", quote(text, safe=PLAIN, errors="replace")[:LONGEST_TAG])
