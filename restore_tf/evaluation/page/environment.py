"""Templates of pages: escaped, strict about names, in one file with their style and script."""

from __future__ import annotations

from pathlib import Path

import jinja2
from markupsafe import Markup

SHARED = Path(__file__).with_name("templates")


def environment(*folders: Path) -> jinja2.Environment:
    """Returns the environment of templates in `folders`, and of the shared ones."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, SHARED]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def as_it_is(*paths: Path) -> Markup:
    """Returns files of ours, one after another, that go into a page unescaped."""
    return Markup("".join(path.read_text(encoding="utf-8") for path in paths))
