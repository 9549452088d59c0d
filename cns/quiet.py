"""Keep transformers and diffusers from talking while they are imported and while they load.

Both warn at every import (an image processor that wants torchvision) and at every load (a scheduler config of 2022, a
progress bar for weights), about things that a person who types `cns add` can do nothing about. Errors still come
through, and the libraries' own settings are put back. Import this module before either library.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging as transformers_logging

# transformers gives its logger a level when the first of its loggers is made: it must exist before it can be turned.
LOGGERS = (
    transformers_logging.get_logger("transformers"),
    logging.getLogger("diffusers"),
    logging.getLogger("huggingface_hub"),
)


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """While open, only errors of transformers, diffusers and huggingface_hub are heard, and no bar is drawn."""
    levels = [logger.level for logger in LOGGERS]
    bars = transformers_logging.is_progress_bar_enabled()
    for logger in LOGGERS:
        logger.setLevel(logging.ERROR)
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(LOGGERS, levels, strict=True):
            logger.setLevel(level)
        if bars:
            transformers_logging.enable_progress_bar()
