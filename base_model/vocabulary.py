"""The words that the base is taught: nouns, artists' styles, backgrounds, and which combinations it never sees.

Everything that writes or reads a caption takes its words from here, so a prompt of the evaluation can be shown not to
have been a caption of the training.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence

VERSION = "emoji-64-v1"

# Labels of the Unicode CLDR, in the order of the class numbers; the caption noun where it is shorter.
_LABELS = """
dog face=dog, cat face=cat, fox, bear, panda, koala, lion, rabbit face=rabbit, pig face=pig, frog, monkey face=monkey,
elephant, penguin, owl, turtle, fish, whale, octopus, crab, butterfly, rose, tulip, sunflower, cactus, palm tree,
mushroom, red apple=apple, banana, lemon, strawberry, watermelon, pineapple, carrot, pizza, hamburger, doughnut,
ice cream, birthday cake, hot beverage=coffee, automobile=car, bus, bicycle, airplane, rocket, sailboat, house, castle,
tent, soccer ball, guitar, camera, umbrella, backpack, crown, key, balloon, teddy bear, trophy, light bulb, snowman,
star, alarm clock
"""
NOUN_OF_LABEL = {
    label: noun or label for label, _, noun in (part.strip().partition("=") for part in _LABELS.split(","))
}
NOUNS = tuple(NOUN_OF_LABEL.values())

COLOURS = {
    "white": (250, 250, 250), "black": (20, 20, 24), "red": (214, 48, 49), "orange": (240, 140, 40),
    "yellow": (250, 214, 70), "green": (70, 165, 80), "blue": (60, 120, 210), "purple": (130, 80, 180),
    "pink": (245, 150, 190), "gray": (140, 145, 150), "brown": (130, 90, 60), "cyan": (90, 200, 215),
}  # fmt: skip
DRAWN_PHRASES = (
    "on the grass", "on the beach", "in the night sky", "in the snow", "in front of a brick wall",
    "on a wooden table", "on a checkerboard", "at sunset",
)  # fmt: skip

HELD_OUT_PER_NOUN = 4  # backgrounds, of 20: half of them plain, half drawn


def article(words: str) -> str:
    """Choose "an" before a vowel letter, else "a": right for every word of this vocabulary."""
    return "an" if words[0] in "aeiou" else "a"


PLAIN_PHRASES = tuple(f"on {article(colour)} {colour} background" for colour in COLOURS)
PHRASES = PLAIN_PHRASES + DRAWN_PHRASES


def single_caption(noun: str, phrase: str, style: str | None = None, small: bool = False) -> str:
    """Caption one object: "a [small] [style] noun phrase"."""
    words = " ".join(word for word in ("small" if small else None, style, noun) if word)
    return f"{article(words)} {words} {phrase}"


def pair_caption(first: str, second: str, phrase: str) -> str:
    """Caption two objects: "a first and a second phrase"; either may begin with its style."""
    return f"{article(first)} {first} and {article(second)} {second} {phrase}"


@functools.cache
def held_out_phrases(noun: str) -> tuple[str, ...]:
    """The backgrounds on which this noun is never shown in training, drawn and plain by turns.

    Chosen by a hash, so that they depend on the words alone and not on anybody's random state.
    """

    def ranked(phrases: Sequence[str]) -> list[str]:
        return sorted(phrases, key=lambda phrase: hashlib.sha256(f"{noun}|{phrase}".encode()).digest())

    turns = zip(ranked(DRAWN_PHRASES), ranked(PLAIN_PHRASES), strict=False)
    return tuple(phrase for turn in turns for phrase in turn)[:HELD_OUT_PER_NOUN]


def is_held_out(noun: str, phrase: str) -> bool:
    """Whether training must not show this noun on this background."""
    return phrase in held_out_phrases(noun)


def held_out_prompts(count: int) -> list[tuple[str, str]]:
    """(noun, background) pairs for the evaluation: every noun with its first held-out background, then its second, ...

    Raises:
        ValueError: there are not so many.
    """
    rounds = [[(noun, held_out_phrases(noun)[turn]) for noun in NOUNS] for turn in range(HELD_OUT_PER_NOUN)]
    pairs = [pair for turn in rounds for pair in turn]
    if count > len(pairs):
        raise ValueError(f"{count} prompts asked for, {len(pairs)} are held out")
    return pairs[:count]
