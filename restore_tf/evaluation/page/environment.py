"""Templates of pages: escaped, strict about names, in one file with their style and script."""

from __future__ import annotations

from pathlib import Path

import jinja2
from markupsafe import Markup

SHARED = Path(__file__).with_name("templates")


def environment(*folders: Path) -> jinja2.Environment:
    """Returns the Jinja2 environment of the templates in some folders and of the shared ones.

    Args:
      *folders: with templates; searched before the shared ones.
    """
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, SHARED]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def unescaped(*paths: Path) -> Markup:
    """Returns the text of our own files, which goes into a page unescaped.

    Args:
      *paths: of the files, joined in this order.
    """
    return Markup("".join(path.read_text(encoding="utf-8") for path in paths))
