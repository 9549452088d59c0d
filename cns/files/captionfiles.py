"""Caption files beside training images, in the forms that trainers and data sets use.

A file for each image: `1.txt`, `1.caption` or `1.json`, or named after the whole file (`1.png.txt`). Or one table for
the folder, as Hugging Face's imagefolder has it: `metadata.jsonl`, `metadata.csv` or `metadata.parquet`. A file of its
own wins over a table. Whatever looks like a caption and is not used is named, so that nothing is left out silently.

The module reads text and tables within fixed bounds; it opens no image and knows no token.
"""

from __future__ import annotations

import csv
import io
import json
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from cns.errors import ImageError
from cns.files.plain import read_regular_file, reason_of

SIDECARS = (".txt", ".caption", ".json")
TABLES = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
OTHER_SIDECARS = (".cap", ".csv", ".md", ".tags", ".toml", ".xml", ".yaml", ".yml")
OTHER_TABLES = (".csv", ".jsonl", ".parquet", ".tsv", ".xlsx")
NAME_KEYS = ("file_name", "image_file_name", "filename", "image", "file", "path")
TEXT_KEYS = ("text", "caption", "prompt", "description", "additional_feature", "tags")
MAX_CAPTION_BYTES = 16_384  # text encoders read 77 tokens
MAX_TABLE_BYTES = 4_000_000
MAX_ROWS = 100_000


@dataclass(frozen=True)
class Captions:
    """What a folder says of its images.

    Attributes:
        texts: Image file name -> caption, in one line, control characters taken out; none is empty.
        sources: Where they come from, such as "metadata.csv" or ".txt files".
        left: What looks like a caption and was not used, a sentence each.
    """

    texts: Mapping[str, str]
    sources: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


def read_captions(folder: Path, paths: Sequence[Path]) -> Captions:
    """Captions of the images of a folder.

    Raises:
        ImageError: A caption file or table is damaged: not UTF-8, a link, no table where a table is expected.
    """
    return _Reading(folder, paths).done()


class _Reading:
    """The captions of one folder, as they are found."""

    def __init__(self, folder: Path, paths: Sequence[Path]) -> None:
        self.folder, self.names = folder, [path.name for path in paths]
        self.files = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        self.texts: dict[str, str] = {}
        self.sources: dict[str, None] = {}
        self.left: list[str] = []

    def done(self) -> Captions:
        self._read_sidecars()
        for name in self.files:
            if name.lower() in TABLES:
                self._read_table(name)
        self._name_others()
        return Captions(self.texts, tuple(self.sources), tuple(self.left))

    def _take(self, image: str, text: str, source: str) -> bool:
        """Keep the caption of an image, if it says something."""
        if caption := " ".join(_printable(text).split()):
            self.texts[image] = caption
            self.sources[source] = None
        return bool(caption)

    def _read_sidecars(self) -> None:
        """A file of its own for each image; its suffix may be written in capitals."""
        beside = {(Path(name).stem, Path(name).suffix.lower()): name for name in self.files}
        own = [(stem, suffix) for name in self.names for stem in (Path(name).stem, name) for suffix in SIDECARS]
        empty = []
        for image in self.names:
            for key in ((stem, suffix) for suffix in SIDECARS for stem in (Path(image).stem, image)):
                if (name := beside.get(key)) is None:
                    continue
                if self._take(image, self._sidecar_text(name), f"{key[1]} files"):
                    break
                empty.append(name)
        self._leave(empty, "{} holds no caption")
        lonely = [
            name
            for (stem, suffix), name in beside.items()
            if suffix in SIDECARS and (stem, suffix) not in own and name.lower() not in TABLES
        ]
        self._leave(lonely, "{} belongs to no picture")

    def _sidecar_text(self, name: str) -> str:
        path = self.folder / name
        if path.suffix.lower() != ".json":
            return _read_text(path, MAX_CAPTION_BYTES)
        try:
            data = json.loads(read_regular_file(path, MAX_CAPTION_BYTES))
            return data if isinstance(data, str) else _text_of(data)
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            return ""  # annotations of other programs end in .json, too

    def _read_table(self, name: str) -> None:
        """A table's rows: for each image the one with its name, in a folder or not."""
        found: dict[str, str] = {}
        for row_name, text in self._rows(name):
            path = PurePosixPath(row_name.replace("\\", "/"))
            if path.name not in found or path.parent.name in ("", self.folder.name):
                found[path.name] = text
        stems = {Path(image).stem: image for image in self.names}
        texts = {row if row in self.names else stems.get(row, row): text for row, text in found.items()}
        self._leave([row for row in texts if row not in self.names], f"{name} names {{}}, which is not in the folder")
        self._leave([row for row, text in texts.items() if not text.strip()], f"{name} has no caption of {{}}")
        wanted = {image: text for image, text in texts.items() if image in self.names and text.strip()}
        missing = [image for image in wanted if image not in self.texts]
        for image in missing:
            self._take(image, wanted[image], name)
        if wanted and not missing:
            self.left.append(f"captions: {name} was not used: the pictures have caption files of their own")

    def _rows(self, name: str) -> Iterable[tuple[str, str]]:
        """File name and text of each row of a table."""
        path = self.folder / name
        try:
            if path.suffix.lower() == ".parquet":
                return list(_parquet_rows(read_regular_file(path, MAX_TABLE_BYTES)))
        except ModuleNotFoundError:
            self.left.append(
                f"captions: {name} was not read: it needs the Python package pyarrow (pip install pyarrow)"
            )
            return []
        except (OSError, ValueError, KeyError) as error:
            raise _no_table(path, "", str(error).splitlines()[0][:200]) from error
        text = _read_text(path, MAX_TABLE_BYTES)
        return list(_csv_rows(path, text) if path.suffix.lower() == ".csv" else _jsonl_rows(path, text))

    def _name_others(self) -> None:
        """Files that may have been meant as captions and have a form that is not read."""
        stems = {stem for name in self.names for stem in (name, Path(name).stem)}
        kinds = [(name, Path(name).stem, Path(name).suffix.lower()) for name in self.files]
        beside = [name for name, stem, suffix in kinds if suffix in OTHER_SIDECARS and stem in stems]
        self._leave(beside, f"{{}} was not read: captions are {', '.join(SIDECARS)} files, or one {TABLES[1]}")
        tables = [name for name, _, suffix in kinds if suffix in OTHER_TABLES and name.lower() not in TABLES]
        others = [name for name in tables if name not in beside]
        self._leave(others, f"{{}} was not read: a table of captions is called {', '.join(TABLES)}")

    def _leave(self, names: Sequence[str], sentence: str) -> None:
        """Name the first of what was not used, and count the others."""
        if names:
            more = f" ({len(names) - 1} more like it)" if len(names) > 1 else ""
            self.left.append(f"captions: {sentence.format(_printable(names[0]))}{more}")


def _jsonl_rows(path: Path, text: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            yield _name_of(row), _text_of(row)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise _no_table(path, f", line {number}", "no JSON object with a file_name and a text") from error


def _csv_rows(path: Path, text: str) -> Iterator[tuple[str, str]]:
    """Rows of a table whose columns are parted by commas, semicolons or tabs."""
    header = text.partition("\n")[0]
    parted_by = next((mark for mark in ",;\t" if mark in header), ",")
    try:
        for row in csv.DictReader(io.StringIO(text, newline=""), restkey="", delimiter=parted_by):
            rest = row.pop("", None) or []
            if rest:  # the last column is a caption with commas that nobody quoted
                last = list(row)[-1]
                row[last] = parted_by.join([row[last], *rest])
            yield _name_of(row), _text_of(row)
    except (ValueError, KeyError, csv.Error) as error:
        raise _no_table(path, "", "no table with the columns file_name and text") from error


def _parquet_rows(data: bytes) -> Iterator[tuple[str, str]]:
    """Rows of a Parquet file's columns of text.

    Raises:
        ValueError: It is damaged or too large.
        ModuleNotFoundError: pyarrow is not installed.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(data))
        texts = [field.name for field in file.schema_arrow if pyarrow.types.is_string(field.type)]
        groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
        size = sum(
            group.column(place).total_uncompressed_size for group in groups for place in range(group.num_columns)
        )
        if file.metadata.num_rows > MAX_ROWS or size > 10 * MAX_TABLE_BYTES:
            raise ValueError(f"{file.metadata.num_rows:,} rows of {size:,} bytes are too much for captions")
        rows = file.read(columns=texts).to_pylist()
    except pyarrow.ArrowException as error:
        raise ValueError(f"no Parquet table: {error}") from error
    for row in rows:
        yield _name_of(row), _text_of(row)


def _name_of(row: Mapping[str, Any]) -> str:
    """The file name of a row; raises KeyError where it has none."""
    for key in NAME_KEYS:
        if isinstance(name := row.get(key), str):
            return name
    raise KeyError("file_name")


def _text_of(row: Mapping[str, Any]) -> str:
    """The caption of a row: under one of the usual keys, else the only other text; "" if it has none."""
    texts = {key: value[0] if isinstance(value, list) and value else value for key, value in row.items()}
    texts = {key: value for key, value in texts.items() if isinstance(value, str) and key not in NAME_KEYS}
    named = [texts[key] for key in TEXT_KEYS if texts.get(key)]
    text = named[0] if named else next(iter(texts.values())) if len(texts) == 1 else ""
    if len(text) > MAX_CAPTION_BYTES:
        raise ValueError(f"a caption of more than {MAX_CAPTION_BYTES:,} characters")
    return text


def _no_table(path: Path, where: str, what: str) -> ImageError:
    return ImageError(
        f"{path}{where} is {what}",
        'Put one object a line into metadata.jsonl: {"file_name": "1.png", "text": "a {name} dog on the grass"}',
        folder=path.parent,
        bad=[(path.name, where.removeprefix(", ") or what)],
    )


def _read_text(path: Path, max_bytes: int) -> str:
    """A caption file as text, in UTF-8, or in UTF-16 as Windows marks it; an empty one is an empty caption."""
    try:
        if path.is_file() and not path.is_symlink() and path.stat().st_size == 0:
            return ""
        data = read_regular_file(path, max_bytes)
        return data.decode("utf-16" if data[:2] in (BOM_UTF16_LE, BOM_UTF16_BE) else "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        way = "Save it as UTF-8 text" if isinstance(error, UnicodeDecodeError) else "Put a plain, shorter file there"
        raise ImageError(
            f"{path} cannot be read as a caption: {reason_of(error)}",
            f"{way}, or take it out of the folder",
            folder=path.parent,
            bad=[(path.name, reason_of(error))],
        ) from error


def _printable(text: str) -> str:
    """Control characters (a terminal would act on them) to spaces."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
