"""Edits command lines, lists of words, for another process."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def without_flags(words: Sequence[str], names: Collection[str]) -> list[str]:
    """Returns the words of a command line without some flags and their values.

    Args:
      words: flags written --name=value or --name value.
      names: of the flags to leave out, none of them boolean.
    """
    kept, skip = [], False
    for word in words:
        flag, equals, _ = word.partition("=")
        if skip:
            skip = False
        elif flag.lstrip("-") in names and word.startswith("-"):
            skip = not equals
        else:
            kept.append(word)
    return kept
