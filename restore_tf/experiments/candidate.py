"""A network that a paper offers to `export.py --plan`: its recipes' `PLAN_CANDIDATES`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One network of a paper.

    Attributes:
      name: for the table.
      network: constructor arguments of the paper's model class.
      counted: arguments to count the cost with in place of some of these, where networks differ
        only in how often the same layers run. Counting one network takes about a second.
      repeated: how often the counted work is done.
    """

    name: str
    network: Mapping[str, Any]
    counted: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    repeated: float = 1.0
