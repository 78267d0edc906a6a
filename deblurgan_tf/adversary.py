"""A recipe's settings of its discriminators and of the weight of their loss."""

from __future__ import annotations

import dataclasses
import math

from deblurgan_tf.adversarial import KINDS
from restore_tf.errors import UserError

_DISCRIMINATORS = ("double", "patch", "seed")


@dataclasses.dataclass(frozen=True)
class Adversary:
    """The fields of `Experiment.training`; `--set training.weight=0.01` changes one.

    Raises:
      UserError: a value out of its range.

    Attributes:
      kind: of `adversarial.KINDS`.
      weight: of the adversarial loss beside the content's, which has 1.
      discriminators: "double", "patch" or "seed", see `discriminators.make`.
      width: channels of their first layer.
      warmup: steps that the generator trains alone at first.
    """

    kind: str = "ragan_ls"
    weight: float = 0.001
    discriminators: str = "double"
    width: int = 64
    warmup: int = 0

    def __post_init__(self):
        for name, words in (("kind", tuple(KINDS)), ("discriminators", _DISCRIMINATORS)):
            if getattr(self, name) not in words:
                raise _wrong(name, f"one of {', '.join(words)}", getattr(self, name))
        if not _is(float, self.weight) or not 0 <= self.weight < math.inf:
            raise _wrong("weight", "a number from 0", self.weight)
        for name, least in (("width", 1), ("warmup", 0)):
            if not _is(int, getattr(self, name)) or getattr(self, name) < least:
                raise _wrong(name, f"a whole number from {least}", getattr(self, name))

    @classmethod
    def from_experiment(cls, experiment) -> Adversary:
        """Returns the adversary of an experiment.

        Args:
          experiment: the `Experiment`.

        Raises:
          UserError: unknown fields, or values out of range.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        for name in experiment.training:
            if name not in names:
                raise UserError(f"training.{name}: no such field; there are {', '.join(names)}.")
        return cls(**experiment.training)


def _is(kind, value):
    kinds = (int, float) if kind is float else int
    return isinstance(value, kinds) and not isinstance(value, bool)


def _wrong(name, expected, value):
    return UserError(f"training.{name}: takes {expected}, not {value!r}.")
