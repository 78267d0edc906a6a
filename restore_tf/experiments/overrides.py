"""How flags override what a recipe fixes: `--set field=value`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from restore_tf.errors import UserError
from restore_tf.experiments import papers, ranges

_ARGUMENTS = ("network", "training")  # fields that are mappings
_FIXED = ("model", "recipe", *_ARGUMENTS)  # --set does not set these as a whole


def override(experiment, assignments: Sequence[str]):
    """Applies `field=value` texts, e.g. "batch=8", "network.width=16", "recurrent_clip_norm=None".

    Values are Python literals; anything else is text. The model's constructor checks the
    "network." arguments; "training." arguments must be among those that the recipe lists.

    Args:
      experiment: an `experiment.Experiment`.
      assignments: the texts.

    Returns:
      The experiment with those values.

    Raises:
      UserError: a misspelt field, or a value that the field does not take.
    """
    changes: dict[str, Any] = {}
    arguments = {name: dict(getattr(experiment, name)) for name in _ARGUMENTS}
    for assignment in assignments:
        field, equals, text = (part.strip() for part in assignment.partition("="))
        if not equals:
            raise UserError(f"--set {assignment}: expected field=value, such as batch=8.")
        owner, dot, name = field.partition(".")
        if dot and owner in _ARGUMENTS:
            if owner == "training":
                _check_listed(experiment.training, name, assignment)
            arguments[owner][name] = ranges.literal(text)
        else:
            changes[field] = _value(experiment, field, ranges.literal(text), assignment)
    return dataclasses.replace(experiment, **arguments, **changes)


def _check_listed(values, name, assignment):
    if name not in values:
        there = f"there are {papers.listed(values, name)}" if values else "this recipe has none"
        raise UserError(f"--set {assignment}: no such field; {there}.")


def _value(experiment, field, value, assignment):
    names = [f.name for f in dataclasses.fields(experiment) if f.name not in _FIXED]
    if field not in names:
        raise UserError(
            f"--set {assignment}: no such field; there are {papers.listed(names, field)}."
        )
    kind = ranges.range_of(experiment, field).kind
    if kind == "Sequence[str]" and isinstance(value, str):
        value = tuple(part for part in value.split(",") if part)
    problem = ranges.range_of(experiment, field).problem(value)
    if problem is not None:
        raise UserError(f"--set {assignment}: {field} {problem}, not {value!r}.")
    return float(value) if kind == "float" and type(value) is int else value


def network_options(assignments: Sequence[str]) -> dict[str, Any]:
    """Returns {option: value} of `network.OPTION=VALUE` texts, which change a run for inference.

    Args:
      assignments: the texts, such as "network.stages=1".

    Raises:
      UserError: anything else; the other fields of a trained run are fixed.
    """
    options = {}
    for assignment in assignments:
        field, equals, text = (part.strip() for part in assignment.partition("="))
        name = field.removeprefix("network.")
        if not equals or name == field or not name.isidentifier():
            raise UserError(
                f"--set {assignment}: expected network.OPTION=VALUE, such as network.stages=1."
            )
        options[name] = ranges.literal(text)
    return options
