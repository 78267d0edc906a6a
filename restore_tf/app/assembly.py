"""Assembles the application: HTTP routes, the page and its routes, checks around all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from restore_tf.app import bodies, examples, routes, shown
from restore_tf.app.guards import Guard
from restore_tf.app.service import Service
from restore_tf.pictures import kinds

# Paths that Gradio's page needs; the rest of Gradio's interface is not offered.
_GRADIO = (
    "/config", "/theme.css", "/assets/", "/static/", "/svelte/", "/favicon.ico", "/manifest.json",
    "/gradio_api/queue/join", "/gradio_api/queue/data", "/gradio_api/heartbeat/",
    "/gradio_api/cancel", "/gradio_api/reset", "/gradio_api/startup-events", "/gradio_api/info",
)  # fmt: skip
_LONGEST_CALL = 64 * 1024  # bytes of a call from the page; files are not part of calls
_ISOLATED = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}


def assemble(
    service: Service,
    hosts: Sequence[str] | None,
    passwords: Mapping[str, str] | None = None,
    root_path: str = "",
    web: str | os.PathLike | None = None,
):
    """Returns the whole ASGI application.

    Args:
      service: the application's parts.
      hosts: host names that requests may use, see `Guard`; None for any.
      passwords: {user: password}; None for no password.
      root_path: the path that a proxy in front strips.
      web: a folder of export.py --format web, served at /web; None for none.
    """
    own = routes.create(service)
    _add_own_routes(own, service)
    if web is not None:
        own.add_api_route("/web", lambda: RedirectResponse("web/"), include_in_schema=False)
        own.mount("/web", _Isolated(StaticFiles(directory=Path(web), html=True)))
    page = _page(service, root_path, web is not None)
    return Guard(_OnlyNeeded(own, page), hosts, passwords)


def _page(service, root_path, web):
    """Returns Gradio's application. It answers every path; `_OnlyNeeded` restricts it."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(service.store.folder / "gradio")
    import gradio as gr

    from restore_tf.app import page

    blocks = page.build(service, root_path, examples.write(service.store), web)
    return gr.mount_gradio_app(
        FastAPI(openapi_url=None),
        blocks,
        path="/",
        root_path=root_path or None,
        theme=gr.themes.Default(
            primary_hue="orange", font=["system-ui", "sans-serif"], font_mono=["monospace"]
        ),
        css=page.static("page.css"),
        head=f'<script src="{root_path}/page/page.js"></script>',
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        show_error=True,
    )


def _add_own_routes(app: FastAPI, service: Service) -> None:
    from restore_tf.app import page

    script = page.static("page.js")

    @app.get("/page/page.js", include_in_schema=False)
    async def own_script() -> Response:
        return Response(script, media_type="text/javascript", headers={"Cache-Control": "no-cache"})

    @app.post("/page/upload", include_in_schema=False)
    async def upload(request: Request, kind: str = "picture", ending: str = "") -> dict[str, str]:
        """Stores an upload of the page; the original file name stays in the browser."""
        most = service.limits.clip_bytes if kind == "clip" else service.limits.bytes
        stated = request.headers.get("content-length", "")
        service.store.check_room(int(stated) if stated.isdigit() else most)
        seconds = 10 * service.limits.seconds_to_send  # phones are slow, and take no place yet
        known = ending if kind == "clip" and ending in kinds.CLIPS else ""
        path = await bodies.read_picture(request, service.store, most, seconds, known)
        return {"id": path.name}

    @app.get("/" + shown.RESULTS + "/{name}", include_in_schema=False)
    async def result(name: str) -> FileResponse:
        path = service.store.find(name)
        kind = path.suffix
        types = {".mp4": "video/mp4", ".zip": "application/zip"}
        media = types.get(kind) or (
            routes.media_type(kind) if kind in kinds.PICTURES else "application/octet-stream"
        )
        return FileResponse(path, media_type=media, headers={"Cache-Control": "private"})


class _Isolated:
    """Adds the headers that let a page use threads."""

    def __init__(self, app):
        self._app = app

    async def __call__(self, scope, receive, send):
        async def send_with_headers(message):
            if message["type"] == "http.response.start":
                pairs = [(name.lower().encode(), text.encode()) for name, text in _ISOLATED.items()]
                message["headers"] = [*message["headers"], *pairs]
            await send(message)

        await self._app(scope, receive, send_with_headers)


class _OnlyNeeded:
    """Passes to Gradio only the paths that the page needs; all others go to our own routes.

    Gradio's server would also accept uploads under their original names, fetch addresses that a
    call names as files, and forward requests to other servers.
    """

    def __init__(self, own: FastAPI, page: FastAPI):
        self._own, self._page = own, page

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            path = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
            if path != "/" and not path.startswith(_GRADIO):
                await self._own(scope, receive, send)
                return
            if path.startswith("/gradio_api/") and scope["method"] == "POST":
                body = await _body(receive)
                if body is None or _names_files(body):
                    await JSONResponse({"error": "refused."}, 400)(scope, receive, send)
                    return
                receive = _replayed(body, receive)
        await self._page(scope, receive, send)


async def _body(receive):
    """The whole body of a call; None if it is too long."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > _LONGEST_CALL:
            return None
        if not message.get("more_body"):
            return body


def _names_files(body):
    """Whether a call has a value that Gradio would treat as a file, or is not JSON."""
    try:
        waiting = [json.loads(body or b"{}")]
    except (ValueError, RecursionError):
        return True
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if {"path", "url"} & set(value):
                return True
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return False


def _replayed(body, receive):
    """Returns a `receive` that gives a body that was read already, then later messages."""
    given = False

    async def receive_again():
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again
