"""The blocks of a Markdown page: what its readers copy."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
SHELL = ("", "sh", "console")  # a command a line; "bash" is a script, run as a whole


class Block(NamedTuple):
    """A fenced or indented block.

    Attributes:
      page: path relative to the root.
      language: what stands behind the fence; "" of an indented block.
      text: its lines, without the indentation.
    """

    page: str
    language: str
    text: str

    def units(self):
        """What is run or listed: each command line, joined and uncommented; else the whole."""
        if self.language not in SHELL:
            return [self.text]
        lines = (re.sub(r"(^|\s+)#\s.*", "", line) for line in _joined(self.text))
        return [line for line in map(str.strip, lines) if line]


def pages():
    """The pages whose blocks are run: README.md and the guides."""
    return ["README.md", *sorted(p.relative_to(ROOT).as_posix() for p in ROOT.glob("docs/*.md"))]


def blocks(page):
    """Returns the blocks of a page in their order."""
    found, lines, after_blank = [], (ROOT / page).read_text(encoding="utf-8").splitlines(), True
    while lines:
        line = lines.pop(0)
        fence = re.match(r"( *)```(\w*)$", line)
        if fence:
            end = next(n for n, each in enumerate(lines) if each.strip() == "```")
            found.append(Block(page, fence[2], "\n".join(lines[:end])))
            del lines[: end + 1]
        elif after_blank and line.startswith("    "):
            block = [line]
            while lines and (lines[0].startswith("    ") or _blank_inside(lines)):
                block.append(lines.pop(0))
            found.append(Block(page, "", "\n".join(each[4:] for each in block)))
        after_blank = not line.strip()
    return found


def _blank_inside(lines):
    return not lines[0].strip() and len(lines) > 1 and lines[1].startswith("    ")


def _joined(text):
    return re.sub(r"\\\n\s*", "", text).splitlines()
