"""A package's chain, which `restore-tf chain --recipe NAME` trains link by link.

The package announces a module with a `CHAIN` by an entry point,

    entry_points={"restore_tf.chains": ["repair = baselines_tf.repair"]}
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Link:
    """A network of a chain, and how it is trained on what the links before it give.

    Attributes:
      model: as train.py takes it.
      recipe: as train.py takes it.
      config: of the chain's data set; its sharp pictures are as large as what this link gives.
      overrides: --set assignments.
    """

    model: str
    recipe: str
    config: str
    overrides: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class ChainRecipe:
    """A chain and its training.

    Attributes:
      summary: what it is for, in a sentence.
      dataset: all links are trained on it, each in its own configuration; the chain is scored in
        the last link's.
      links: in order; a text is a step without weights, such as "unsharp:2:1.5:3".
    """

    summary: str
    dataset: str
    links: Sequence[Link | str]
