"""Ranges of the fields of an `Experiment`, stated next to each field.

batch: int = whole(1, 2**20)
beta_1: float = real(least=0, below=1, default=0.9)
"""

from __future__ import annotations

import ast
import dataclasses
import itertools
from collections.abc import Callable, Mapping
from typing import Any

_LARGEST = 1e38  # what float32 holds


@dataclasses.dataclass(frozen=True)
class Range:
    """The type of a value and the numbers or words it may be.

    Attributes:
      kind: the type's name.
      words: the whole range, for messages: "a whole number from 1 to 16".
      accepts: whether a value is of that type.
      limits: {words: condition}: what else must hold, such as {"1 or more": …}; a message names
        the first that does not.
      optional: whether None is taken, too.
    """

    kind: str
    accepts: Callable[[Any], bool]
    limits: Mapping[str, Callable[[Any], bool]]
    words: str
    optional: bool = False

    def problem(self, value: Any) -> str | None:
        """Returns what the field takes, for a message, where a value is out of range; else None.

        Args:
          value: of any type.
        """
        none = " or None" if self.optional else ""
        if value is None and self.optional:
            return None
        if isinstance(value, bool) or not self.accepts(value):
            return f"takes {self.words}{none}"
        for words, holds in self.limits.items():
            if not holds(value):
                return f"takes {words}{none}"
        return None


def literal(text: str) -> Any:
    """Returns the Python literal that a text is, or the text itself.

    Args:
      text: a flag's value, such as "8", "None" or "cosine".
    """
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def range_of(experiment: Any, field: str) -> Range:
    """Returns the `Range` of a dataclass's field.

    Args:
      experiment: the dataclass or an instance, such as an `Experiment`.
      field: its name.
    """
    return next(f for f in dataclasses.fields(experiment) if f.name == field).metadata["range"]


def whole(least: int, most: int, default=dataclasses.MISSING, optional: bool = False):
    """Declares a field for whole numbers.

    Args:
      least: the smallest number it takes.
      most: the largest.
      default: of the field; required where it is left out.
      optional: whether None is taken, too.

    Returns:
      A dataclass field that checks its values.
    """
    limits = {f"{least} or more": lambda v: v >= least, f"{most} or less": lambda v: v <= most}
    words = f"a whole number from {least} to {most}"
    return _field(Range("int", lambda v: isinstance(v, int), limits, words, optional), default)


def real(least=None, above=None, below=None, default=dataclasses.MISSING, optional=False):
    """Declares a field for finite numbers.

    Args:
      least: the smallest number it takes, unless `above` is given.
      above: numbers must be larger than this; None for no such limit.
      below: numbers must be smaller than this; None for no such limit.
      default: of the field; required where it is left out.
      optional: whether None is taken, too.

    Returns:
      A dataclass field that checks its values.
    """
    low = f"{least} or more" if above is None else f"more than {above}"
    high = f"at most {_LARGEST:g}" if below is None else f"less than {below}"
    words = f"a finite number, {low} and {high}"
    limits: dict[str, Callable[[Any], bool]] = {
        words: lambda v: -_LARGEST <= v <= _LARGEST,  # neither inf nor nan
        low: lambda v: v >= least if above is None else v > above,
        high: lambda v: below is None or v < below,
    }
    accepts = lambda v: isinstance(v, (int, float))  # noqa: E731
    return _field(Range("float", accepts, limits, words, optional), default)


def text(*words: str, default=dataclasses.MISSING):
    """Declares a field for one of several words, or for any text that is not empty.

    Args:
      *words: those it takes; none for any text.
      default: of the field; required where it is left out.

    Returns:
      A dataclass field that checks its values.
    """
    takes = f"one of {', '.join(words)}" if words else "a name"
    limits = {takes: (lambda v: v in words) if words else (lambda v: bool(v.strip()))}
    return _field(Range("str", lambda v: isinstance(v, str), limits, takes), default)


def texts(default=()):
    """Declares a field for several names, separated by commas on the command line.

    Args:
      default: of the field.

    Returns:
      A dataclass field that checks its values.
    """
    words = "names, separated by commas"
    limits = {words: lambda v: all(isinstance(word, str) and word.strip() for word in v)}
    return _field(Range("Sequence[str]", _is_list, limits, words), default)


def stretches(*ranges: tuple[int, int], default=()):
    """Declares a field for (step, crop, batch) entries, whole numbers with rising steps.

    Args:
      ranges: (least, most) of the steps, crops and batches.
      default: of the field.

    Returns:
      A dataclass field that checks its values.
    """
    bounds = ", ".join(f"{least} to {most}" for least, most in ranges)
    words = (
        "(step, crop, batch) entries, three whole numbers each, such as [(0, 128, 8), "
        f"(92000, 192, 4)], from {bounds}"
    )
    limits = {
        words: lambda v: all(_is_stretch(entry, ranges) for entry in v),
        "steps that rise": lambda v: _rises([entry[0] for entry in v]),
    }
    return _field(Range("Sequence[Sequence[int]]", _is_list, limits, words), default)


def arguments(optional: bool = False):
    """Declares a field for {name: value}; the constructor that takes them checks the values.

    Args:
      optional: whether the field may be left out, for none.

    Returns:
      A dataclass field that checks its values.
    """
    words = "a mapping with names as keys"
    limits = {words: lambda v: all(isinstance(key, str) for key in v)}
    metadata = {"range": Range("a mapping", lambda v: hasattr(v, "items"), limits, words)}
    if optional:
        return dataclasses.field(default_factory=dict, metadata=metadata)
    return dataclasses.field(metadata=metadata)


def _field(values, default):
    return dataclasses.field(default=default, metadata={"range": values})


def _is_list(value):
    return isinstance(value, (list, tuple))


def _is_stretch(entry, ranges):
    whole_numbers = _is_list(entry) and all(type(number) is int for number in entry)
    return (
        whole_numbers
        and len(entry) == len(ranges)
        and all(low <= number <= high for number, (low, high) in zip(entry, ranges, strict=True))
    )


def _rises(numbers):
    return all(a < b for a, b in itertools.pairwise(numbers))
