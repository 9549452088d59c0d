"""Addresses as they may be shown: a password or a token in one stays where the user put it.

An address comes with user information (`postgresql://ann:secret@db/mlflow`) or a token in its query, and libraries put
whole addresses into their errors. What is shown, stored or recorded passes `shown` first. This module opens nothing.
"""

from __future__ import annotations

import re

# SQLAlchemy takes "/" and "@" in a password, users may be mail addresses, and a quote may stand in either: the last "@"
# of the word ends it. A file's address has no user: its path begins where the user would stand.
_USER = re.compile(r"(?<=://)(?:[^\s/]*:\S*@|[^\s/'\"]+@)")
_QUERY = re.compile(r"(/[^\s?'\"]*)\?[^\s#'\")]+")
_BARE = re.compile(r"(localhost|[\w-]+(\.[\w-]+)+):\d{1,5}(/|$)")


def names_no_protocol(text: str) -> bool:
    """Whether an address is a host and its port alone, which would be taken for a folder."""
    return bool(_BARE.match(text))


def shown(text: str) -> str:
    """Return an address, or a text with addresses in it, without user information and without queries."""
    return _QUERY.sub(r"\1", _USER.sub("", text))


def has_secret(address: str) -> bool:
    """Whether an address names more than a place: a user, a password or a query."""
    return shown(address) != address
