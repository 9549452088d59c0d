"""The tokenizer: CLIP's byte-pair encoding, learned on the captions, small.

Besides the captions it reads icon labels and tags, so that words of the neighbourhood ("puppy", "beak") are not cut
into letters. Every printable character is a piece of its own, inside a word and at its end: a learned concept's token
`<name>` must not dissolve into unknown pieces when somebody types it before it is learned.
"""

from __future__ import annotations

import json
import string
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

PIECES = 2400
POSITIONS = 32
BOS, EOS = "<|startoftext|>", "<|endoftext|>"
END_OF_WORD = "</w>"
WORD = r"'s|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"  # CLIP's own division of a text into words
SYMBOLS = string.digits + string.ascii_lowercase + string.punctuation


def train_tokenizer(texts: Iterable[str], folder: Path) -> CLIPTokenizer:
    """Learn the pieces from texts and write the tokenizer into a folder."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix=END_OF_WORD, unk_token=EOS))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORD), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=PIECES,
        special_tokens=[BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        end_of_word_suffix=END_OF_WORD,
        show_progress=False,
    )
    # A symbol that stands alone is a word of one letter: that is how its end-of-word form enters the pieces.
    tokenizer.train_from_iterator([*texts, " ".join(SYMBOLS)], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return _write(model["vocab"], model["merges"], folder)


def with_symbols(tokenizer: CLIPTokenizer, folder: Path) -> CLIPTokenizer:
    """Give an earlier tokenizer the symbols that it lacks, in the places of its rarest pieces; write it to a folder.

    The number of pieces stays. The last merges learned are the rarest, and no earlier piece is made of them.
    """
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    vocab, merges = dict(model["vocab"]), [tuple(merge) for merge in model["merges"]]
    missing = [form for symbol in SYMBOLS for form in (symbol, symbol + END_OF_WORD) if form not in vocab]
    for form in missing:
        vocab[form] = vocab.pop("".join(merges.pop()))
    return _write(vocab, merges, folder)


def _write(vocab: dict[str, int], merges: list[tuple[str, str]], folder: Path) -> CLIPTokenizer:
    tokenizer = CLIPTokenizer(
        vocab=vocab,
        merges=[tuple(merge) for merge in merges],
        bos_token=BOS,
        eos_token=EOS,
        unk_token=EOS,
        pad_token=EOS,
        model_max_length=POSITIONS,
    )
    tokenizer.save_pretrained(folder)
    return tokenizer
