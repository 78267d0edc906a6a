"""The documentation as a site: it builds without a warning, and nothing in it is fetched."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import browser
import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr  # warnings are errors (mkdocs.yml)
    return folder


@pytest.mark.slow
def test_every_page_is_in_the_site(site):
    pages = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("*_tf/README.md")]
    expected = {path.relative_to(ROOT).with_suffix(".html").as_posix() for path in pages}
    expected = {re.sub("README.html$", "index.html", name) for name in expected}
    assert {name for name in expected if not (site / name).exists()} == set()


@pytest.mark.slow
def test_the_pages_fetch_nothing(site):
    fetching = re.compile(r'<(?:script|link|img|iframe)\b[^>]*(?:src|href)="?(https?://[^"\s>]+)')
    for page in site.glob("**/*.html"):
        found = fetching.findall(page.read_text(encoding="utf-8"))
        assert found == [], page
    for script in site.glob("assets/javascripts/bundle.*.js"):
        assert "https://unpkg.com" not in script.read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_search_finds_public_functions(site):
    index = (site / "search" / "search_index.json").read_text(encoding="utf-8")
    titles = [doc["title"] for doc in json.loads(index)["docs"]]
    assert any("load_model" in title for title in titles)
    assert any("Troubleshooting" in title for title in titles)


@pytest.mark.slow
@pytest.mark.skipif(bool(browser.missing()), reason=browser.missing())
@pytest.mark.parametrize("where", ["served", "from a disk"])
def test_the_search_needs_nothing_from_outside(site, where):
    with browser.served(site, {}) as address, browser.opened() as chromium:
        watched = browser.Watched(chromium)
        start = address if where == "served" else f"file://{site}"
        watched.page.goto(f"{start}/index.html")
        watched.page.keyboard.press("/")
        watched.page.keyboard.type("unsharp masking")
        result = watched.page.locator(".md-search-result__link").first
        result.wait_for(timeout=30_000)
        assert (
            site
            / result.get_attribute("href").split("?")[0].split("#")[0].replace(start, str(site))
        ).exists()
        assert watched.outside == [] and watched.errors == []
        watched.close()
