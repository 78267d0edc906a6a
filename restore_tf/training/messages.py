"""Other libraries' errors as messages of one line."""

from __future__ import annotations

import re

# Places in TensorFlow's graph, and its names of Python's exceptions.
_GRAPH = re.compile(r"\[*\{\{(?:function_)?node [^}]*\}\}\]*|\[Op:[^\]]*\](?: name: ?\S*)?")
_TYPE = re.compile(r"^(?:\w+\.)*\w*(?:Error|Exception): ")


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message that says something, without a full stop.

    TensorFlow's places in a graph, such as `{{function_node __wrapped__IteratorGetNext_…}}`, are
    left out.

    Args:
      error: of any library.
    """
    text = _GRAPH.sub("", str(getattr(error, "message", None) or error))
    lines = [line.strip() for line in text.splitlines()]
    line = next(filter(None, lines), type(error).__name__)
    return (_TYPE.sub("", line).strip() or line).rstrip(".")
