"""What values the fields of an `Experiment` take, stated next to each field.

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
      kind: the type's name, as messages say it.
      accepts: whether a value is of that type.
      limits: {words: condition}: what else must hold, such as {"1 or more": …}; a message names
        the first that does not.
      optional: whether None is taken, too.
    """

    kind: str
    accepts: Callable[[Any], bool]
    limits: Mapping[str, Callable[[Any], bool]]
    optional: bool = False

    def problem(self, value: Any) -> str | None:
        """Returns what the field takes, where `value` is something else; None where it is right."""
        none = " or None" if self.optional else ""
        if value is None and self.optional:
            return None
        if isinstance(value, bool) or not self.accepts(value):
            return f"takes {self.kind}{none}"
        for words, holds in self.limits.items():
            if not holds(value):
                return f"takes {words}{none}"
        return None


def literal(text: str) -> Any:
    """Returns the Python literal that a flag's text is; the text itself where it is none."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def of(experiment: Any, field: str) -> Range:
    """Returns the range of a dataclass's field."""
    return next(f for f in dataclasses.fields(experiment) if f.name == field).metadata["range"]


def whole(least: int, most: int, default=dataclasses.MISSING, optional: bool = False):
    """A field for whole numbers from `least` to `most`."""
    limits = {f"{least} or more": lambda v: v >= least, f"{most} or less": lambda v: v <= most}
    return _field(Range("int", lambda v: isinstance(v, int), limits, optional), default)


def real(least=None, above=None, below=None, default=dataclasses.MISSING, optional=False):
    """A field for finite numbers: `least` or more, more than `above`, less than `below`."""
    limits: dict[str, Callable[[Any], bool]] = {}
    if least is not None:
        limits[f"{least} or more"] = lambda v: v >= least
    if above is not None:
        limits[f"more than {above}"] = lambda v: v > above
    if below is None:
        limits["a finite number"] = lambda v: -_LARGEST <= v <= _LARGEST
    else:
        limits[f"less than {below}"] = lambda v: v < below
    return _field(Range("float", lambda v: isinstance(v, (int, float)), limits, optional), default)


def text(*words: str, default=dataclasses.MISSING):
    """A field for one of the words; for any text that is not empty where there are none."""
    if words:
        limits = {f"one of {', '.join(words)}": lambda v: v in words}
    else:
        limits = {"a name": lambda v: bool(v.strip())}
    return _field(Range("str", lambda v: isinstance(v, str), limits), default)


def texts(default=()):
    """A field for several names, separated by commas on the command line."""
    limits = {"names": lambda v: all(isinstance(word, str) and word.strip() for word in v)}
    return _field(Range("Sequence[str]", _is_list, limits), default)


def stretches(default=()):
    """A field for (step, crop, batch), each three whole numbers, in the order of the steps."""
    limits = {
        "(step, crop, batch) entries, three whole numbers each, such as [(0, 128, 8), "
        "(92000, 192, 4)]": lambda v: all(map(_is_stretch, v)),
        "steps that rise": lambda v: _rises([entry[0] for entry in v]),
    }
    return _field(Range("Sequence[Sequence[int]]", _is_list, limits), default)


def arguments(optional: bool = False):
    """A field for {name: value}; the constructor that takes them checks the values.

    Args:
      optional: whether the field may be left out, for none.
    """
    limits = {"names as keys": lambda v: all(isinstance(key, str) for key in v)}
    metadata = {"range": Range("a mapping", lambda v: hasattr(v, "items"), limits)}
    if optional:
        return dataclasses.field(default_factory=dict, metadata=metadata)
    return dataclasses.field(metadata=metadata)


def _field(values, default):
    return dataclasses.field(default=default, metadata={"range": values})


def _is_list(value):
    return isinstance(value, (list, tuple))


def _is_stretch(entry):
    whole_numbers = _is_list(entry) and all(type(number) is int for number in entry)
    return whole_numbers and len(entry) == 3 and entry[0] >= 0 and min(entry[1:]) >= 1


def _rises(numbers):
    return all(a < b for a, b in itertools.pairwise(numbers))
