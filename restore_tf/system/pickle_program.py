"""Checks a pickle's program before it runs: only the operations that its writer uses may pass.

A pickle is a program, and `Unpickler.find_class` alone does not make it harmless. Python's
unpickler, written in C, reserves memory for any memo index (68 GB for the largest), takes extension
codes from a cache without calling `find_class`, and hashes any dict key (nested tuples can take for
ever). The pure-Python unpickler has a dict for a memo, but the other two faults too, and no public
name.
"""

from __future__ import annotations

import pickletools
from collections.abc import Collection
from typing import Any

_KEYS = [getattr(pickletools, f"py{kind}") for kind in "unicode int float bool none".split()]


class Refused(Exception):
    """The pickle asks for more than plain data; the message names it."""


def shown(text: Any) -> str:
    """Returns a text as one printable line of at most 120 characters.

    Args:
      text: anything, often from a file.
    """
    return str(text).encode("unicode_escape").decode()[:120]


def check(program: bytes, operations: Collection[str], writer: str) -> None:
    """Simulates a program with the types on its stack, without executing it.

    Args:
      program: the pickle.
      operations: names of the operations that it may use, as `pickletools` has them.
      writer: the program that writes such pickles, for messages.

    Raises:
      Refused: an operation, a memo index or a dict key that such a writer does not write.
      ValueError: it is damaged.
      LookupError: it is damaged.
    """
    stack: list = []
    marks: list[int] = []
    memo: list = []
    for operation, argument, _ in pickletools.genops(program):
        name = operation.name
        if name not in operations:
            raise Refused(f"its pickle uses {name}, which {writer} does not")
        if name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            if argument not in (None, len(memo)):
                raise Refused("its pickle numbers its memo out of order")
            memo.append(stack[-1])
        elif name == "MARK":
            marks.append(len(stack))
        else:
            operands = _pop(stack, marks, operation.stack_before)
            pairs = operands[1:]
            if name.startswith("SETITEM") and not (
                len(pairs) % 2 == 0 and all(kind in _KEYS for kind in pairs[::2])
            ):
                raise Refused("its pickle has a dict whose keys are no str or number")
            get = name in ("BINGET", "LONG_BINGET")
            stack += [memo[int(argument or 0)]] if get else operation.stack_after


def _pop(stack, marks, before):
    """Removes an operation's operands, `before` as `pickletools` has them, and returns them."""
    if pickletools.markobject in before:
        start = marks.pop() - before.index(pickletools.markobject)
    else:
        start = len(stack) - len(before)
    if start < (marks[-1] if marks else 0):  # what lies below a mark is not the operation's
        raise ValueError("the pickle's stack is empty")
    operands = stack[start:]
    del stack[start:]
    return operands
