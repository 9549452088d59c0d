"""Writing to MLflow while others do: its databases give up where they could wait."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from typing import Any, TypeVar

# What databases answer to several writers at once, as it was seen with MLflow 3.17.
BUSY = re.compile("UniqueViolation|UNIQUE constraint|Giving up after|database is locked|deadlock", re.IGNORECASE)
PAUSES_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)

Answer = TypeVar("Answer")


def persistently(call: Callable[..., Answer], *words: Any, **more: Any) -> Answer:
    """Call MLflow; again, after a pause, where its database gave up because of other writers."""
    from mlflow.exceptions import MlflowException

    for pause_s in PAUSES_S:
        try:
            return call(*words, **more)
        except MlflowException as error:
            if not BUSY.search(str(error)):
                raise
        time.sleep(pause_s * random.random())
    return call(*words, **more)


def unless_there(call: Callable[..., Answer], *words: Any, **more: Any) -> Answer | None:
    """Call MLflow to make something; None where somebody else has made it."""
    from mlflow.exceptions import MlflowException

    try:
        return persistently(call, *words, **more)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return None
