"""Masks beside training images: which file says where in a picture the concept is, in the forms that trainers use.

A mask is a grey picture, white where the concept is. It stands beside its picture as `1-masklabel.png`, as OneTrainer
writes it; or in a folder of masks under the picture's name, as kohya's `conditioning_data_dir` and ai-toolkit's
`mask_path` have it. Such a folder is found by its own name, see `mask_folders`.

The module knows names; it opens no file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

LABEL = "-masklabel.png"
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
WORDS = ("masks", "mask")
MARKS = ("-", "_")
IMAGE_WORDS = ("image", "images", "img", "imgs", "photo", "photos", "picture", "pictures", "train")


@dataclass(frozen=True)
class MaskFiles:
    """The masks of a folder's images.

    Attributes:
        files: Image file name -> its mask.
        sources: Where they come from, such as "-masklabel.png files".
        left: What looks like a mask and is not used, a sentence each.
    """

    files: Mapping[str, Path] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


def find_masks(folder: Path, paths: Sequence[Path]) -> MaskFiles:
    """Find the masks of images; a file beside a picture wins over one in a folder of masks.

    Args:
        folder: Where the images are.
        paths: The images.
    """
    labels = {path.name.lower().removesuffix(LABEL): path for path in _files(folder) if _is_label(path.name)}
    found = {path.name: labels[path.stem.lower()] for path in paths if path.stem.lower() in labels}
    sources = [f"{LABEL} files"] if found else []
    lonely = sorted({path.name for path in labels.values()} - {path.name for path in found.values()})
    left = [f"masks: {lonely[0]} belongs to no picture" + _more(lonely)] if lonely else []
    for place in mask_folders(folder):
        named = {path.stem.lower(): path for path in _files(place) if path.suffix.lower() in SUFFIXES}
        matched = {path.name: named[path.stem.lower()] for path in paths if path.stem.lower() in named}
        if matched.keys() - found.keys():
            found = {**matched, **found}
            within = f"{place.parent.name}/" if place.name == folder.resolve().name else ""
            sources.append(f"the folder {within}{place.name}")
            break
    return MaskFiles(found, tuple(sources), tuple(left))


def mask_folders(folder: Path) -> Iterator[Path]:
    """The folders that may hold the masks of the images of a folder such as `photos/rex`, the nearest first.

    `photos/rex/masks`, `photos/rex-masks`, `photos/rex_masks` and `photos/masks/rex`, each with "mask", too; and beside
    a folder that is called "images" or alike, `masks`, or its folder of the same name: `img/10_sks dog` has
    `mask/10_sks dog`. A link is none of them.
    """
    folder = folder.resolve()
    name, parent = folder.name, folder.parent
    for word in WORDS:
        places = [folder / word, *(parent / f"{name}{mark}{word}" for mark in MARKS), parent / word / name]
        if name.lower() in IMAGE_WORDS:
            places.append(parent / word)
        if parent.name.lower() in IMAGE_WORDS:
            places.append(parent.parent / word / name)
        yield from (place for place in places if place.is_dir() and not place.is_symlink())


def is_mask_folder(folder: Path) -> bool:
    """Whether a folder's name says that it holds masks, and no pictures of a concept."""
    name = folder.name.lower()
    return name in WORDS or name.endswith(tuple(mark + word for mark in MARKS for word in WORDS))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and not path.is_dir())


def _is_label(name: str) -> bool:
    return name.lower().endswith(LABEL)


def _more(names: Sequence[str]) -> str:
    return f" ({len(names) - 1} more like it)" if len(names) > 1 else ""
