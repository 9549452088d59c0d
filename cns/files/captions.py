"""Captions beside training images: `name.txt` or `name.caption`, or a `metadata.jsonl`.

A caption marks the place of the special token by `[trigger]`, `{name}` or `<token>`; one that marks none still gets
it, before its class noun. The module reads text; it never opens an image.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cns.errors import ImageError
from cns.files.plain import read_regular_file, reason_of
from cns.templates import whole_token

CAPTION_SUFFIXES = (".txt", ".caption")
PLACEHOLDER = re.compile(r"\[trigger\]|\{name\}|<token>")
MAX_CAPTION_BYTES = 16_384  # text encoders read 77 tokens
MAX_METADATA_BYTES = 4_000_000


def read_captions(folder: Path, paths: Sequence[Path]) -> dict[str, str]:
    """Captions by image file name: a `.txt` or `.caption` file beside the image, else the line in `metadata.jsonl`.

    Raises:
        ImageError: a caption file is damaged: not UTF-8, a link, or no JSON where JSON is expected.
    """
    wanted = {path.name for path in paths}
    found = _metadata_captions(folder / "metadata.jsonl")
    captions = {name: caption for name, caption in found.items() if name in wanted}
    for path in paths:
        for suffix in CAPTION_SUFFIXES:
            sidecar = path.with_suffix(suffix)
            if os.path.lexists(sidecar):  # a link to nowhere too; False for a name that is too long for any file
                captions[path.name] = _read_text(sidecar, MAX_CAPTION_BYTES)
                break
    clean = {name: " ".join(_printable(caption).split()) for name, caption in captions.items()}
    return {name: caption for name, caption in clean.items() if caption}


def fill_caption(caption: str, token: str, class_noun: str | None = None) -> str:
    """Put the special token into a caption.

    Args:
        caption: As it stands beside the image.
        token: The special token, such as "<rex>".
        class_noun: The concept's class noun; used where the caption marks no place for the token.

    Returns:
        The caption with each `[trigger]`, `{name}` and `<token>` replaced, and the token itself, in whatever case, by
        how the vocabulary has it. Without any of them the token goes before the first class noun, and if that is absent
        too, token and noun go in front, with a comma.
    """
    if (marked := _with_token_marked(caption, token)) is not None:
        return marked
    if class_noun:
        filled, count = re.subn(
            rf"\b({re.escape(class_noun)})\b", lambda noun: f"{token} {noun[1]}", caption, count=1, flags=re.I
        )
        return filled if count else f"{token} {class_noun}, {caption}"
    return f"{token}, {caption}"


def fill_style_caption(caption: str, token: str, class_noun: str = "style") -> str:
    """Put a style into the caption of a picture: "a dog on the grass" -> "a <mona> style dog on the grass".

    Args:
        caption: As it stands beside the image; it says what is drawn.
        token: The special token.
        class_noun: The word behind it.

    Returns:
        The caption with each placeholder replaced; without one, token and noun stand behind the article that it begins
        with, and if it begins with none, in front, with a comma.
    """
    if (marked := _with_token_marked(caption, token)) is not None:
        return marked
    begin = re.match(r"(?:an?|the)\s+", caption, re.IGNORECASE)
    if begin is None:
        return f"{token} {class_noun}, {caption}"
    article = "a " if begin[0].lower().startswith("an ") else begin[0]  # the token comes first now, not a vowel
    return f"{article}{token} {class_noun} {caption[begin.end() :]}"


def _with_token_marked(caption: str, token: str) -> str | None:
    """The caption with the token at the places marked for it; None where there is none."""
    filled, count = re.subn(f"{PLACEHOLDER.pattern}|{whole_token(token)}", lambda _: token, caption, flags=re.I)
    return filled if count else None


def class_noun_in(captions: Iterable[str | None], nouns: Sequence[str]) -> str | None:
    """The known noun that more than half of all images' captions name and no other noun equals; None if there is none.

    A longer noun hides the shorter one inside it: "teddy bear" is no "bear".
    """
    longest_first = sorted(nouns, key=len, reverse=True)
    pattern = re.compile(r"\b(" + "|".join(re.escape(noun) for noun in longest_first) + r")\b", re.IGNORECASE)
    total, found = 0, Counter[str]()
    for caption in captions:
        total += 1
        found.update({noun.lower() for noun in pattern.findall(caption or "")} if nouns else ())
    best = found.most_common(2)
    if not best or best[0][1] * 2 <= total or (len(best) > 1 and best[1][1] == best[0][1]):
        return None
    return next(noun for noun in nouns if noun.lower() == best[0][0])


def _metadata_captions(path: Path) -> dict[str, str]:
    """`file_name` -> `text` of a datasets-style metadata file; empty if there is none."""
    if not os.path.lexists(path):
        return {}
    captions = {}
    for number, line in enumerate(_read_text(path, MAX_METADATA_BYTES).splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            captions[str(row["file_name"])] = _caption_of(row)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ImageError(
                f"{path}, line {number} is no JSON object with a file_name and a text",
                'Put one object a line: {"file_name": "1.png", "text": "a {name} dog on the grass"}',
                folder=path.parent,
                bad=[(path.name, f"line {number}")],
            ) from error
    return captions


def _caption_of(row: dict[str, Any]) -> str:
    """The caption of a row: a text, or none."""
    text = row.get("text") or row.get("caption") or ""
    if not isinstance(text, str) or len(text) > MAX_CAPTION_BYTES:
        raise ValueError(f"the caption is no text of at most {MAX_CAPTION_BYTES} characters")
    return text


def _read_text(path: Path, max_bytes: int) -> str:
    """A caption file as text; an empty one is an empty caption."""
    try:
        if path.is_file() and not path.is_symlink() and path.stat().st_size == 0:
            return ""
        return read_regular_file(path, max_bytes).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ImageError(
            f"{path} cannot be read as a caption: {reason_of(error)}",
            "Save it as UTF-8 text, or take it out of the folder",
            folder=path.parent,
            bad=[(path.name, reason_of(error))],
        ) from error


def _printable(text: str) -> str:
    """Control characters (a terminal would act on them) to spaces."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
