"""Debian's Chromium, driven by Playwright; tests skip where either is missing."""

import contextlib
import os
import shutil

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


@contextlib.contextmanager
def browser():
    """Yields a browser; skips where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    # As root, as in containers, Chromium runs without its sandbox only.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield started
        started.close()


class Watched:
    """A page from whose server alone things may come.

    Attributes:
      page: Playwright's.
      outside: addresses elsewhere that were asked for; each request failed.
      errors: what the page complained of.
    """

    def __init__(self, context, base):
        """Opens no address yet.

        Args:
          context: a browser's context.
          base: where the page's own things come from.
        """
        self.page = context.new_page()
        self.outside, self.errors = [], []
        self._base = base
        context.route("**/*", self._route)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._note)

    def _note(self, said):
        # Chromium notes answers of 400 and more by itself, those that a test asks for too.
        if said.type == "error" and "Failed to load resource: the server" not in said.text:
            self.errors.append(said.text)

    def _route(self, route):
        if route.request.url.startswith((self._base, "data:", "blob:")):
            route.continue_()
        else:
            self.outside.append(route.request.url)
            route.abort()
