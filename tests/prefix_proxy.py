"""A proxy that serves an application below a path, which it strips, as nginx does."""

import contextlib
import threading

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

_NOT_PASSED_ON = ("connection", "transfer-encoding", "content-length")


@contextlib.contextmanager
def below(prefix, server, bound):
    """Serves what `server` ("http://…") answers below `prefix`, on the socket `bound`."""
    client = httpx.AsyncClient(base_url=server, timeout=60)

    async def pass_on(request: Request):
        path = request.url.path.removeprefix(prefix) or "/"
        query = f"?{request.url.query}" if request.url.query else ""
        sent = client.build_request(
            request.method, path + query, headers=request.headers.raw, content=await request.body()
        )
        answer = await client.send(sent, stream=True)
        headers = {k: v for k, v in answer.headers.items() if k not in _NOT_PASSED_ON}
        return StreamingResponse(answer.aiter_raw(), answer.status_code, headers)

    routes = [Route(f"{prefix}/{{path:path}}", pass_on, methods=["GET", "POST"])]
    config = uvicorn.Config(
        Starlette(routes=routes), log_level="warning", timeout_graceful_shutdown=1
    )
    proxy = uvicorn.Server(config)
    thread = threading.Thread(target=proxy.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        yield
    finally:
        proxy.should_exit = True
        thread.join()
