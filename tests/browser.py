"""The system's Chromium, driven by Playwright, and a server of static files for it.

What is missing is named by `missing()`, which tests are skipped by.
"""

import contextlib
import functools
import importlib.util
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
ISOLATED = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
LOCAL = "http://127.0.0.1:"
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


def program():
    """The browser's path, None where there is none."""
    return next(filter(None, map(shutil.which, _PROGRAMS)), None)


def missing():
    """Names what the tests of pages lack; empty where nothing is."""
    if importlib.util.find_spec("playwright") is None:
        return "playwright is not installed"
    return "" if program() else "no Chromium: apt-get install chromium"


class _Handler(SimpleHTTPRequestHandler):
    headers_sent = {}

    def end_headers(self):
        for name, value in self.headers_sent.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *words):
        pass


@contextlib.contextmanager
def served(folder, headers=ISOLATED):
    """Yields the address of a folder's static files."""
    kind = type("Handler", (_Handler,), {"headers_sent": headers})
    handler = functools.partial(kind, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextlib.contextmanager
def launcher():
    """Yields what starts a Chromium without a window, with more arguments where they are given.

    A process may have one of these at a time.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, contextlib.ExitStack() as running:

        def launch(*arguments):
            found = playwright.chromium.launch(
                executable_path=program(),
                args=["--no-sandbox", *arguments],
                env={"HOME": "/nonexistent"},
            )
            running.callback(found.close)
            return found

        yield launch


@contextlib.contextmanager
def opened(*arguments):
    """Yields a Chromium without a window; `arguments` are more of its command line's."""
    with launcher() as launch:
        yield launch(*arguments)


class Watched:
    """A browser's page that cannot reach anything outside, and remembers what it tried.

    Attributes:
      page: Playwright's.
      outside: addresses that it asked for elsewhere.
      errors: what was thrown and not caught; with `console`, also what was logged as an error.
    """

    def __init__(self, browser, viewport=DESKTOP, own=LOCAL, console=False, **options):
        self.outside, self.errors = [], []
        self._own = (own, "blob:", "data:", "file:")
        self._context = browser.new_context(viewport=viewport, **options)
        self._context.route("**/*", self._route)
        self.page = self._context.new_page()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        if console:
            self.page.on("console", self._note)

    def _note(self, said):
        # Chromium notes answers of 400 and more by itself, those that a test asks for too.
        if said.type == "error" and "Failed to load resource: the server" not in said.text:
            self.errors.append(said.text)

    def _route(self, route):
        address = route.request.url
        if address.startswith(self._own):
            route.continue_()
        else:
            self.outside.append(address)
            route.abort()

    def close(self):
        """Closes the page and what belongs to it."""
        self._context.close()
