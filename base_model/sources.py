"""Where the drawings come from: npm packages by pinned version, hash and licence.

`fetch` brings the archives with `npm pack`. They are read in place and never unpacked to disk, so a hostile archive
can name no path. A package whose licence field is not the one that was reviewed stops the recipe.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ALLOWED_LICENCES = frozenset({"Apache-2.0", "MIT", "CC-BY-4.0"})
# CC-BY 4.0 asks for attribution of every copy, so nothing that the base is trained on may carry it.
TRAINING_LICENCES = frozenset({"Apache-2.0", "MIT"})


class SourceError(RuntimeError):
    """A package is missing, altered, or under a licence that was not reviewed."""


@dataclass(frozen=True)
class Source:
    """One npm package.

    Attributes:
        package: Name on the registry.
        version: The pinned version.
        licence: SPDX id that the package's own `license` field must hold.
        sha256: Hash of the archive that `npm pack` writes.
        artist: Short name of whose drawings they are; empty for a package without drawings.
        style: Word that captions use for the artist; None if the base is not trained on the drawings.
        url: Where the artist publishes them, for NOTICE.
    """

    package: str
    version: str
    licence: str
    sha256: str
    artist: str
    style: str | None
    url: str

    @property
    def archive_name(self) -> str:
        """The file name that `npm pack` chooses."""
        return f"{self.package.removeprefix('@').replace('/', '-')}-{self.version}.tgz"

    @property
    def is_trained_on(self) -> bool:
        """Whether the base sees these drawings."""
        return self.style is not None


_ICONS = (
    (
        "noto", "1.2.9", "Apache-2.0", "noto", "noto", "https://github.com/googlefonts/noto-emoji",
        "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad",
    ),
    (
        "noto-v1", "1.2.5", "Apache-2.0", "noto-v1", "blob", "https://github.com/googlefonts/noto-emoji",
        "2bf62c26c2c2884aa99e90aec942cdaee17a5921f05690694f4978ad4b017c37",
    ),
    (
        "fluent-emoji-flat", "1.2.6", "MIT", "fluent-flat", "flat", "https://github.com/microsoft/fluentui-emoji",
        "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175",
    ),
    (
        "fluent-emoji", "1.2.7", "MIT", "fluent", "glossy", "https://github.com/microsoft/fluentui-emoji",
        "8044210dbf11e016d4de85f15d01a243423bd832457e7e2491df1b751c0e272b",
    ),
    (
        "fxemoji", "1.2.2", "Apache-2.0", "fxemoji", None, "https://github.com/mozilla/fxemoji",
        "f3e72b3c59d05e1db03b7e308d55c0d05bd7ba3f625a90da1b79313c12858eef",
    ),
    (
        "twemoji", "1.2.5", "CC-BY-4.0", "twemoji", None, "https://github.com/twitter/twemoji",
        "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7",
    ),
)  # fmt: skip

ICON_SOURCES = tuple(
    Source(f"@iconify-json/{name}", version, licence, sha256, artist, style, url)
    for name, version, licence, artist, style, url, sha256 in _ICONS
)
NAMES_SOURCE = Source(
    "emojibase-data", "17.0.0", "MIT", "d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a",
    "", None, "https://github.com/milesj/emojibase",
)  # fmt: skip
SOURCES = (*ICON_SOURCES, NAMES_SOURCE)
STYLES = {source.artist: source.style for source in ICON_SOURCES if source.style is not None}


def fetch(folder: Path) -> None:
    """Bring every package that is not there yet into a folder, then check all of them.

    Raises:
        SourceError: npm failed, or a package is not the one that was reviewed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for source in SOURCES:
        if not (folder / source.archive_name).exists():
            wanted = f"{source.package}@{source.version}"
            result = subprocess.run(
                ["npm", "pack", "--silent", wanted], cwd=folder, capture_output=True, text=True, check=False
            )
            if result.returncode != 0:
                raise SourceError(f"npm pack {wanted} failed: {result.stderr.strip() or result.stdout.strip()}")
        check(source, folder)


def check(source: Source, folder: Path) -> None:
    """Stop unless the archive has the pinned hash and the reviewed licence.

    Raises:
        SourceError: it has not.
    """
    found = hashlib.sha256((folder / source.archive_name).read_bytes()).hexdigest()
    if found != source.sha256:
        raise SourceError(f"{source.archive_name}: SHA-256 is {found}, expected {source.sha256}. Delete it and fetch.")
    check_licence(source, read_json(source, folder, "package.json").get("license"))


def check_licence(source: Source, stated: str | None) -> None:
    """Stop unless the licence that a package states is the reviewed one, and fit for its use here.

    Raises:
        SourceError: it is not.
    """
    if stated != source.licence:
        raise SourceError(f"{source.package}: licence is {stated!r}, reviewed as {source.licence!r}")
    allowed = TRAINING_LICENCES if source.is_trained_on else ALLOWED_LICENCES
    if stated not in allowed:
        raise SourceError(f"{source.package}: licence {stated} is not among {sorted(allowed)}")


def read_json(source: Source, folder: Path, member: str) -> Any:
    """Read one JSON file out of a package's archive.

    Raises:
        SourceError: the archive is not there.
    """
    archive = folder / source.archive_name
    if not archive.exists():
        raise SourceError(f"{archive} is missing. Run: python -m base_model fetch")
    with tarfile.open(archive) as opened:
        stream = opened.extractfile(f"package/{member}")
        if stream is None:
            raise SourceError(f"{archive} holds no file {member}")
        return json.loads(stream.read())
