"""One row of the torture table: what was tried, how often, and what it cost the registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Size = Literal["quick", "full"]


@dataclass(frozen=True)
class Trial:
    """The outcome of one kind of harm.

    Attributes:
        goal: "R1" to "R17".
        what: What was done to the registry.
        tried: How many times.
        lost: How often something that had been acknowledged was gone, or the next command did not work.
        corrupt: How often the registry was neither as before nor as after.
        note: What else was counted; where nothing could be tried, why.
        seconds: Wall time.
    """

    goal: str
    what: str
    tried: int
    lost: int
    corrupt: int
    note: str
    seconds: float
