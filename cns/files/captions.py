"""What a caption says of the concept: where its token stands, and what kind of thing it is.

A caption marks the place of the special token by `[trigger]`, `{name}` or `<token>`; one that marks none still gets
it, before its class noun. Captions that were written for another trainer call the thing by that one's word (`sks`,
`TOK`, `<new1>`, `[name]`), and people call it by its name: `mark_concept` puts the place of the token there. The module
knows texts; it opens no file.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from cns.templates import whole_token

PLACEHOLDER = re.compile(r"\[trigger\]|\{name\}|<token>")
MARK = "{name}"
_WORDS = "name|trigger|token|concept|subject|identifier|instance|v"
TRIGGER = re.compile(
    rf"<[^<>\s:]{{1,40}}>|[\[{{](?:{_WORDS})\d?[\]}}]|(?<!\w)[sv]\*|(?<!\w)(?:sks|ohwx|zwx|(?-i:TOK))(?!\w)",
    re.IGNORECASE,
)
"""How other trainers call the thing: diffusers and kohya "sks", Replicate "TOK", Custom Diffusion "<new1>", Textual
Inversion's paper "S*", OneTrainer and A1111 a word in brackets."""
LORA = re.compile(r"<(?:lora|lyco|hypernet):[^<>]*>", re.IGNORECASE)
NOT_THE_THING = (
    *("a", "an", "and", "are", "as", "at", "behind", "beside", "between", "by", "for", "from", "has", "in", "inside"),
    *("into", "is", "near", "next", "of", "on", "or", "out", "over", "that", "the", "to", "under", "was", "while"),
    *("who", "with"),
)
"""Words that do not go on with what a token begins: behind a token that one of these follows, the noun is missing."""


def fill_caption(caption: str, token: str, class_noun: str | None = None) -> str:
    """Put the special token into a caption.

    Args:
        caption: As it stands beside the image.
        token: The special token, such as "<rex>".
        class_noun: The concept's class noun; used where the caption marks no place for the token.

    Returns:
        The caption with the token in each place that marks it, or that `mark_concept` finds, and the token itself, in
        whatever case, as the vocabulary has it. Without any of them the token goes before the first class noun, and if
        that is absent too, token and noun go in front, with a comma.
    """
    caption = mark_concept(caption, token, class_noun or "")
    if (marked := _with_token_marked(caption, token)) is not None:
        return marked
    if class_noun:
        before_noun = _before_noun(caption, token, class_noun)
        return before_noun if before_noun != caption else f"{token} {class_noun}, {caption}"
    return f"{token}, {caption}"


def fill_style_caption(caption: str, token: str, class_noun: str = "style") -> str:
    """Put a style into the caption of a picture: "a dog on the grass" -> "a <mona> style dog on the grass".

    Args:
        caption: As it stands beside the image; it says what is drawn.
        token: The special token.
        class_noun: The word behind it.

    Returns:
        The caption with the token in each place that marks it, or that `mark_concept` finds; without one, token and
        noun stand behind the article that it begins with, and if it begins with none, in front, with a comma.
    """
    caption = mark_concept(caption, token, class_noun)
    if (marked := _with_token_marked(caption, token)) is not None:
        return marked
    begin = re.match(r"(?:an?|the)\s+", caption, re.IGNORECASE)
    if begin is None:
        return f"{token} {class_noun}, {caption}"
    article = "a " if begin[0].lower().startswith("an ") else begin[0]  # the token comes first now, not a vowel
    return f"{article}{token} {class_noun} {caption[begin.end() :]}"


def mark_concept(
    caption: str,
    token: str,
    class_noun: str,
    *,
    name: str = "",
    known: Collection[str] = (),
    trigger: str = "",
) -> str:
    """Mark where a caption speaks of the concept by another trainer's word for it, or by its name.

    Args:
        caption: As it stands beside the image.
        token: The concept's special token.
        class_noun: Its class noun; "" if it is not known.
        name: Its name; "" is the token without its brackets. As a mark it stands beside the class noun, or behind no
            article, since a name may be a usual word, too: "a cat in the snow" does not speak of the concept snow.
        known: Special tokens of other concepts, which mean these.
        trigger: A further word for the thing, such as "zxc" of a folder `10_zxc dog`.

    Returns:
        The caption with `{name}` there, and the class noun behind it where a caption without it goes on as if it stood
        there: "rex the dog", "a sks dog" and "TOK in the snow" become "{name} dog", "a {name} dog" and "{name} dog in
        the snow". A caption that names the concept in none of these ways, or marks it already, comes back as it is.
        Marking twice is marking once.
    """
    caption = " ".join(LORA.sub(" ", caption).split()) if LORA.search(caption) else caption
    own, others = _own_mark(token), {one.lower() for one in known} - {token.lower()}
    if own.search(caption):
        return caption if _names(caption, class_noun) else _with_noun(caption, own, class_noun)
    called = whole_token(trigger) if trigger else "(?!)"
    marked = re.sub(
        f"{TRIGGER.pattern}|{called}", lambda one: one[0] if one[0].lower() in others else MARK, caption, flags=re.I
    )
    if marked == caption and class_noun:
        marked = _name_marked(caption, name or token.strip("<>"), class_noun)
    if marked == caption:
        return _before_noun(caption, MARK, class_noun) if TRIGGER.search(caption) and class_noun else caption
    return _with_noun(_tidy(marked, class_noun), own, class_noun)


def says_where(caption: str, token: str, class_noun: str) -> bool:
    """Whether a caption marks the place of the token or names the class noun; else its place in front is a guess."""
    return _own_mark(token).search(caption) is not None or _names(caption, class_noun)


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


def kohya_folder(name: str) -> tuple[str, str]:
    """The trigger and the class that a folder's name says in kohya's way, `10_sks dog`; ("", "") of any other.

    The number says how often each picture is used beside those of other folders; with one folder it has no meaning.
    """
    found = re.fullmatch(r"\d+_(\S+)\s+(\S.*)", name)
    return (found[1], found[2].strip()) if found else ("", "")


def folder_repeats(name: str) -> int:
    """The number of kohya's folders, `10_sks dog`; 0 of any other."""
    return int(name.partition("_")[0][:9]) if kohya_folder(name) != ("", "") else 0


def _own_mark(token: str) -> re.Pattern[str]:
    """What marks the place of a token: the placeholders, and the token itself in whatever case."""
    return re.compile(f"{PLACEHOLDER.pattern}|{whole_token(token)}", re.IGNORECASE)


def _with_token_marked(caption: str, token: str) -> str | None:
    """The caption with the token at the places marked for it; None where there is none."""
    filled, count = _own_mark(token).subn(lambda _: token, caption)
    return filled if count else None


def _names(caption: str, class_noun: str) -> bool:
    """Whether a caption holds the class noun."""
    return re.search(rf"\b{re.escape(class_noun)}\b", caption, re.IGNORECASE) is not None


def _before_noun(caption: str, token: str, class_noun: str) -> str:
    """The caption with a token before its first class noun, and the article that suits; as it was without such a noun.

    "an umbrella" becomes "a <rex> umbrella".
    """
    found = re.search(rf"\b(an\s+)?({re.escape(class_noun)})\b", caption, re.IGNORECASE)
    if found is None:
        return caption
    article = "" if found[1] is None else found[1][0] + found[1][2:]
    return f"{caption[: found.start()]}{article}{token} {found[2]}{caption[found.end() :]}"


def _name_marked(caption: str, name: str, class_noun: str) -> str:
    """The caption with its mark in the place of the concept's name."""
    words = [re.escape(word) for word in re.split(r"[\W_]+", name.lower()) if word]
    if not words or set(words) <= {*class_noun.lower().split(), *NOT_THE_THING}:
        return caption
    spelled = r"[\s_-]*".join(words)
    called = rf"(?<!\w){spelled}(?!\w)"
    noun = rf"{re.escape(class_noun)}\b"
    beside = re.sub(rf"{called}(?=,?\s+(?:(?:an?|the|my|our)\s+)?{noun})", MARK, caption, flags=re.I)
    beside = re.sub(rf"\b({noun}\s+(?:named\s+|called\s+)?){called}", rf"\1{MARK}", beside, flags=re.I)
    if beside != caption:
        return beside
    return re.sub(rf"(?<!\ba\s)(?<!\ban\s)(?<!\bthe\s){called}", MARK, caption, flags=re.I)


def _tidy(marked: str, class_noun: str) -> str:
    """A caption whose marks took the places of other words, as people write it: "{name} the dog" -> "{name} dog"."""
    mark, noun = re.escape(MARK), rf"{re.escape(class_noun)}\b" if class_noun else "(?!)"
    marked = re.sub(rf"{mark},?\s+(?:an?|the|my|our)\s+({noun})", rf"{MARK} \1", marked, flags=re.I)
    marked = re.sub(rf"\b({noun})\s+(?:named\s+|called\s+|of\s+)?{mark}", rf"{MARK} \1", marked, flags=re.I)
    marked = re.sub(rf"{mark}(?:[\s,]*{mark})+", MARK, marked)
    marked = re.sub(rf"\b(a)n\s+(?={mark})", r"\1 ", marked, flags=re.I)
    return " ".join(marked.split())


def _with_noun(caption: str, mark: re.Pattern[str], class_noun: str) -> str:
    """The caption with the class noun behind its first mark, where it goes on without one."""
    if not class_noun or re.search(rf"(?:{mark.pattern})\s+{re.escape(class_noun)}\b", caption, re.I):
        return caption
    ends = rf"\s*$|[^\w\s-]|\s+(?:{'|'.join(NOT_THE_THING)}|\w+ing)\b"
    return re.sub(rf"({mark.pattern})(?={ends})", lambda one: f"{one[0]} {class_noun}", caption, count=1, flags=re.I)
