"""The HTTP interface. `docs/app.md` shows it with curl and Python."""

from __future__ import annotations

import dataclasses
import importlib.resources
from typing import Annotated, Literal

import jinja2
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException

from restore_tf.app import bodies
from restore_tf.app.refusals import BadPicture, Cancelled, Refusal, Stopping, TooSlow
from restore_tf.app.restoring import Options
from restore_tf.app.service import Service, answer
from restore_tf.errors import UserError
from restore_tf.pictures import files
from restore_tf.system.version import version

MEDIA = {"jpg": "jpeg", "jpeg": "jpeg", "jpe": "jpeg", "jfif": "jpeg", "tif": "tiff", "dib": "bmp"}
_FAILED = "internal error; see the server's log."
_DISCONNECTED = 499  # for the log: nobody reads this answer
_FORMATS = Literal["png", "jpg", "webp", "tiff", "bmp"]
_CONTENT = {
    "image/*": {"schema": {"type": "string", "format": "binary"}},
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "properties": {"picture": {"type": "string", "format": "binary"}},
        }
    },
}
_REFUSALS = {
    400: "an empty body, or a form that cannot be read",
    404: "no such model",
    408: "the body did not arrive in time",
    413: "too many bytes or pixels",
    422: "not a picture, or options that do not fit it",
    429: "the queue is full; try again after Retry-After seconds",
    503: "the server is stopping",
}


def create(service: Service) -> FastAPI:
    """Returns the application with its HTTP routes.

    Args:
      service: the application's parts.
    """
    app = FastAPI(
        title="restore_tf",
        version=version(),
        description="Restores pictures: send a file, get the restored file.",
        docs_url=None,  # FastAPI's own pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # redirects would lead to this host, not to the proxy in front
    )
    app.state.service = service
    _answer_errors(app, service)
    _add_restore(app, service)
    _add_models(app, service)
    _add_documentation(app)
    return app


def media_type(ending: str) -> str:
    """Returns the media type of a picture's file.

    Args:
      ending: of its name, with or without a dot.
    """
    kind = ending.removeprefix(".")
    return f"image/{MEDIA.get(kind, kind)}"


def _add_restore(app, service):
    @app.post(
        "/restore",
        summary="Restore a picture",
        response_class=Response,
        responses={
            200: {"description": "the restored picture", "content": {"image/*": {}}},
            **{status: {"description": words} for status, words in _REFUSALS.items()},
        },
        openapi_extra={"requestBody": {"required": True, "content": _CONTENT}},
    )
    async def restore(
        request: Request,
        model: Annotated[str | None, Query(description="a name of /models")] = None,
        strength: Annotated[float, Query(ge=0, le=1, description="1: restored, 0: unchanged")] = 1,
        stages: Annotated[int | None, Query(ge=1, description="stop after this one")] = None,
        ensemble: Annotated[
            bool, Query(description="average over 8 flips and rotations, 8 times as slow")
        ] = False,
        seed: Annotated[int, Query(ge=0, lt=2**31, description="of a sampler's noise")] = 0,
        format: Annotated[_FORMATS | None, Query(description="by default the picture's")] = None,
        jpeg_quality: Annotated[
            int, Query(ge=1, le=100, description="of JPEG and WebP")
        ] = files.JPEG_QUALITY,
    ) -> Response:
        """Takes the picture as the request's body, or as the one file of a form.

        The answer has the picture's format, bit depth, alpha, metadata and profile. Warnings are in
        the header X-Warnings, the network's seconds in X-Seconds.
        """
        _check_names(request.query_params)
        service.catalogue.find(model)
        options = Options(model, strength, stages, ensemble, seed, format, jpeg_quality)
        limits, path = service.limits, None
        with service.line.enter() as place:
            try:
                path = await bodies.read_picture(
                    request, service.store, limits.bytes, limits.seconds_to_send
                )
                result = await answer(
                    request, place, lambda place: service.restoring.file(path, options, place)
                )
            finally:
                if path is not None:
                    path.unlink(missing_ok=True)
        return Response(
            result.file,
            media_type=media_type(result.ending),
            headers={
                "Content-Disposition": f'inline; filename="restored{result.ending}"',
                "Cache-Control": "no-store",
                "X-Seconds": f"{result.seconds:.3f}",
                **_warnings(result.warnings),
            },
        )


def _check_names(query):
    """Refuses unknown options: a misspelt one must not be ignored."""
    known = [field.name for field in dataclasses.fields(Options)]
    for name in query:
        if name not in known:
            raise BadPicture(f"{name[:60]}: no such option; expected one of {', '.join(known)}.")


def _warnings(lines):
    if not lines:
        return {}
    return {"X-Warnings": " | ".join(lines).encode("ascii", "backslashreplace").decode()[:2000]}


def _add_models(app, service):
    @app.get("/models", summary="List the networks")
    async def models() -> list[dict[str, str | bool]]:
        """The default comes first."""
        return [
            {
                "name": entry.name,
                "kind": entry.kind,
                "summary": entry.summary,
                "terms": entry.terms,
                "default": entry.name == service.catalogue.default,
            }
            for entry in service.catalogue.entries.values()
        ]

    @app.get("/healthz", summary="Report whether the server takes pictures")
    async def healthz() -> JSONResponse:
        """Returns 503 while the server is stopping, and the numbers of requests in the queue."""
        stopping = service.line.closed
        status = "stopping" if stopping else "ok"
        line = service.line
        content = {"status": status, "under_way": line.taken, "computing": line.computing}
        return JSONResponse(content, 503 if stopping else 200)


def _add_documentation(app):
    template = jinja2.Environment(autoescape=True).from_string(
        importlib.resources.files("restore_tf.app")
        .joinpath("templates/docs.html")
        .read_text(encoding="utf-8")
    )

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(template.render(api=app.openapi()))


def _answer_errors(app, service):
    async def refuse(request: Request, error: Exception) -> Response:
        if not isinstance(error, TooSlow):
            await bodies.drain(request, 2 * service.limits.bytes)
        if isinstance(error, Cancelled):
            if service.line.closed:
                error = Stopping("the server is stopping; ask again later.")
            else:
                return Response(status_code=_DISCONNECTED)
        refused = isinstance(error, Refusal)
        headers = {}
        if refused and error.retry_after is not None:
            headers["Retry-After"] = str(error.retry_after)
        return JSONResponse({"error": str(error)}, error.status if refused else 422, headers)

    async def refuse_query(request: Request, error: RequestValidationError) -> Response:
        await bodies.drain(request, 2 * service.limits.bytes)
        lines = [f"{found['loc'][-1]}: {found['msg']}" for found in error.errors()]
        return JSONResponse({"error": "; ".join(lines)}, 422)

    async def refuse_address(request: Request, error: HTTPException) -> Response:
        await bodies.drain(request, 2 * service.limits.bytes)
        words = str(error.detail).lower()
        return JSONResponse({"error": f"{words}."}, error.status_code, error.headers)

    async def fail(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": _FAILED}, 500)

    app.add_exception_handler(Exception, fail)  # and then raised, for the log
    app.add_exception_handler(UserError, refuse)
    app.add_exception_handler(Cancelled, refuse)
    app.add_exception_handler(HTTPException, refuse_address)
    app.add_exception_handler(RequestValidationError, refuse_query)
