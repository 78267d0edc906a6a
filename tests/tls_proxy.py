"""What stands in front of a server in earnest: a proxy that speaks TLS outside and plain inside."""

import asyncio
import contextlib
import ssl
import threading


async def _copy(reader, writer):
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextlib.contextmanager
def tls_in_front(port, certificate):
    """Yields the port that speaks TLS with a certificate of trustme for what `port` serves."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    context.set_alpn_protocols(["h2", "http/1.1"])  # gRPC insists on the first

    async def forward(*outside):
        inside = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_copy(outside[0], inside[1]), _copy(inside[0], outside[1]))

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda loop, found: None)  # clients that refuse the certificate
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def inside_loop(work):
        return asyncio.run_coroutine_threadsafe(work, loop).result(10)

    server = inside_loop(asyncio.start_server(forward, "127.0.0.1", 0, ssl=context))
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
