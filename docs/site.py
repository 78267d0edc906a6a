"""MkDocs hook: the pages beside the code (README, papers, data sets) become pages of the site.

MkDocs takes pages from one folder. Here every page keeps its path in the repository, so that the
links between pages, which readers also follow on a code host, hold in the site unchanged.
"""

import re
from pathlib import Path

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PATTERNS = ("*.md", "docs/**/*.md", "*_tf/README.md", "*_tf/weights/*/*.md", "datasets/README.md")
PATTERNS += ("datasets/*/README.md", "benchmarks/README.md")
WORKER = Path("docs/iframe-worker.js")  # the search of a page that is opened from a disk
# Where Material would fetch other scripts, such as diagrams'; the pages have none.
_FETCHED = "https://unpkg.com/"
_LINK = re.compile(r"!?\[[^\]]*\]\((?!https?:|#|mailto:)([^)#\s]+)")


def pages() -> list[Path]:
    """Returns the Markdown pages of the site, relative to the repository."""
    found = {path.relative_to(ROOT) for pattern in PATTERNS for path in ROOT.glob(pattern)}
    return sorted(found)


def linked_files(page: Path) -> set[Path]:
    """Returns the files, not pages, that a page links to, relative to the repository."""
    targets = _LINK.findall((ROOT / page).read_text(encoding="utf-8"))
    paths = {((ROOT / page).parent / target).resolve() for target in targets}
    return {
        path.relative_to(ROOT)
        for path in paths
        if path.is_file() and path.suffix != ".md" and path.is_relative_to(ROOT)
    }


def on_post_build(config) -> None:
    """Takes the one address out of the theme's script that a page would fetch from elsewhere."""
    for script in Path(config.site_dir).glob("assets/javascripts/bundle.*.js"):
        text = script.read_text(encoding="utf-8")
        script.write_text(text.replace(_FETCHED, "data:text/javascript,//"), encoding="utf-8")


def on_files(files: Files, config) -> Files:
    """Replaces MkDocs' own list of docs/ by the pages, each at its path in the repository."""
    theme = [file for file in files if not str(file.abs_src_path).startswith(config.docs_dir)]
    found = set(pages())
    for page in list(found):
        found |= linked_files(page)
    found.add(WORKER)
    own = [
        File.generated(config, path.as_posix(), abs_src_path=str(ROOT / path))
        for path in sorted(found)
    ]
    return Files([*theme, *own])
