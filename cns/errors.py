"""What can go wrong in the method, one class a kind of failure.

Every error carries a sentence for people (`message`: what is wrong with which value, and what was expected), the next
thing to type (`hint`), and its facts as attributes, so that callers and tests look at the fact and not at the sentence.
The module does not know how an error is shown or which exit code it ends in.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class MethodError(Exception):
    """Something a person can put right: shown without a traceback.

    Args:
        message: What is wrong with which value, and what was expected.
        hint: The next command or step; empty if there is none.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ImageError(MethodError):
    """The training images cannot be used.

    Attributes:
        folder: Where they were looked for.
        bad: (file name, reason) of each file that could not be read; empty if there was no image at all.
    """

    def __init__(
        self, message: str, hint: str = "", *, folder: Path | None = None, bad: Sequence[tuple[str, str]] = ()
    ) -> None:
        super().__init__(message, hint)
        self.folder = folder
        self.bad = tuple(bad)


class BaseModelError(MethodError):
    """The base model is missing, of an unsupported kind, unsafe to load, or not the one that was expected.

    Attributes:
        source: The name, folder or hub id that was asked for.
        changed: (file, expected SHA-256, found SHA-256 or "absent") of each file that differs from the expected base.
    """

    def __init__(
        self, message: str, hint: str = "", *, source: str = "", changed: Sequence[tuple[str, str, str]] = ()
    ) -> None:
        super().__init__(message, hint)
        self.source = source
        self.changed = tuple(changed)


class EncoderMissingError(BaseModelError):
    """A judge (an image encoder that scores pictures) is not on this machine and could not be fetched."""


class AdapterError(MethodError):
    """A file of another trainer cannot be read, means nothing to this base, or changes what a concept cannot.

    Attributes:
        path: The file.
    """

    def __init__(self, message: str, hint: str = "", *, path: Path | None = None) -> None:
        super().__init__(message, hint)
        self.path = path


class TokenError(MethodError):
    """The special token cannot be used.

    Attributes:
        token: The token as it was given; empty if it is named in the message alone.
    """

    def __init__(self, message: str, hint: str = "", *, token: str = "") -> None:
        super().__init__(message, hint)
        self.token = token


class ClassNounError(MethodError):
    """The class noun could not be told from the images with enough confidence.

    Attributes:
        candidates: The best (noun, probability) pairs, best first.
    """

    def __init__(self, message: str, hint: str = "", *, candidates: Sequence[tuple[str, float]] = ()) -> None:
        super().__init__(message, hint)
        self.candidates = tuple(candidates)


class SettingsError(MethodError):
    """A setting has a value that cannot be used.

    Attributes:
        name: The setting.
        value: The value that was given.
    """

    def __init__(self, message: str, hint: str = "", *, name: str = "", value: object = None) -> None:
        super().__init__(message, hint)
        self.name = name
        self.value = value


class NotFiniteError(MethodError):
    """Numbers of a model are NaN or infinite: what would be made of them is no picture, feature or score.

    Attributes:
        part: What they come out of: "UNet", "VAE decoder", "text encoder", "identity encoder".
    """

    def __init__(self, message: str, hint: str = "", *, part: str = "") -> None:
        super().__init__(message, hint)
        self.part = part


class ExtensionError(MethodError):
    """A score, regularizer or metric of another package cannot be used.

    Attributes:
        name: Its name.
        package: Name and version of the package.
    """

    def __init__(self, message: str, hint: str = "", *, name: str = "", package: str = "") -> None:
        super().__init__(message, hint)
        self.name = name
        self.package = package


class RegionError(MethodError):
    """A region of the picture cannot be meant: a box that is none, too small a box, or too many regions."""


class GridError(MethodError):
    """Weights cannot be put on the integer grid: NaN, infinity, or more steps than a delta may hold."""


class CodecError(MethodError):
    """The bytes of a mask or a delta are not what this format says: damaged, or of another version."""


class MetricError(MethodError):
    """A figure cannot be computed from what was given: no image, no prompt, a shape that does not fit, NaN.

    A gate must read this as a failure, never as a pass.

    Attributes:
        metric: The name of the metric.
    """

    def __init__(self, message: str, hint: str = "", *, metric: str = "") -> None:
        super().__init__(message, hint)
        self.metric = metric
