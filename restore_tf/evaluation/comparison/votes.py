"""Counts the votes of a blind page."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats

from restore_tf.errors import UserError
from restore_tf.evaluation.comparison.results import Comparison
from restore_tf.evaluation.report import CONFIDENCE

KEY = "blind_key.json"


class Wins(NamedTuple):
    """Votes for one row.

    Attributes:
      row: its name.
      votes: for it.
      shown: answered questions with the row among their pictures.
      share: votes / shown, with `low` and `high` of its 95 % interval (Wilson's).
    """

    row: str
    votes: int
    shown: int
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Tally:
    """The result of a vote.

    Attributes:
      answered: questions with a vote.
      questions: number of questions.
      wins: of each row, the most votes first.
      chance: share that a row gets if votes are random.
    """

    answered: int
    questions: int
    wins: list[Wins]
    chance: float


def tally(comparison: Comparison, votes_file: str | os.PathLike) -> Tally:
    """Returns how often each row was voted for.

    Args:
      comparison: its folder holds the key.
      votes_file: the file that the page saved: {"comparison": id, "votes": {"1": "B", …}}.

    Raises:
      UserError: the key or the votes cannot be read, or the votes are of another page.
    """
    path = comparison.folder / KEY
    key = _read(path, "write the blind page first")
    if not {"id", "questions"} <= set(key):
        raise UserError(f"{path}: is not the key of a blind page; write the page again.")
    votes = _votes(Path(votes_file), key)
    rows = dict.fromkeys(row for asked in key["questions"] for row in asked["columns"].values())
    wins = []
    for row in rows:
        shown = [n for n in votes if row in key["questions"][n - 1]["columns"].values()]
        won = sum(key["questions"][n - 1]["columns"][votes[n]] == row for n in shown)
        if shown:
            test = stats.binomtest(won, len(shown))
            low, high = test.proportion_ci(CONFIDENCE, method="wilson")
            wins.append(Wins(row, won, len(shown), won / len(shown), float(low), float(high)))
    chance = float(np.mean([1 / len(key["questions"][n - 1]["columns"]) for n in votes]))
    wins.sort(key=lambda each: -each.votes)
    return Tally(len(votes), len(key["questions"]), wins, chance)


def _read(path, otherwise):
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {otherwise}.") from None
    except ValueError:
        raise UserError(f"{path}: is not JSON; {otherwise}.") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a JSON object; {otherwise}.")
    return content


def _votes(path, key):
    """{question's number: letter}, checked."""
    content = _read(path, "give the file that the blind page saved")
    if content.get("comparison") != key["id"]:
        raise UserError(f"{path}: its votes are of another blind page; vote on this one.")
    votes = content.get("votes")
    if not isinstance(votes, dict) or not votes:
        raise UserError(f"{path}: holds no votes; answer at least one question.")
    checked = {}
    for number, letter in votes.items():
        known = number.isdecimal() and 0 < int(number) <= len(key["questions"])
        columns = key["questions"][int(number) - 1]["columns"] if known else {}
        if not isinstance(letter, str) or letter not in columns:
            raise UserError(f"{path}: there is no picture {letter} of question {number}.")
        checked[int(number)] = letter
    return checked
