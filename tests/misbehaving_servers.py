"""Servers that answer with errors in turn, or not, before they give a file back as it came."""

import base64
import concurrent.futures
import contextlib
import http.server
import json
import threading
import types

import grpc
from tensorflow_serving.apis import (
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)


class Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Gives the codes in turn, then the file back as it came.

    Args:
      codes: names of statuses; None for a request that gets no answer until the server ends.
      answer: what to give back in place of the file.
    """

    def __init__(self, codes, answer=None):
        self.codes, self.answer, self.asked = list(codes), answer, 0
        self.ended = threading.Event()

    def Predict(self, request, context):
        """Answers one request."""
        self.asked += 1
        if self.codes:
            code = self.codes.pop(0)
            if code is None:
                self.ended.wait()
            else:
                context.abort(getattr(grpc.StatusCode, code), "so it is")
        response = predict_pb2.PredictResponse()
        response.outputs["restored_bytes"].CopyFrom(request.inputs["image_bytes"])
        if self.answer is not None:
            response.outputs["restored_bytes"].string_val[:] = [self.answer]
        return response


@contextlib.contextmanager
def grpc_server(codes, answer=None):
    """Yields an address and what counts, as `asked`, how often it was asked; see `Prediction`."""
    service = Prediction(codes, answer)
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(
        model_service_pb2_grpc.ModelServiceServicer(), server
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"grpc://127.0.0.1:{port}", service
    finally:
        service.ended.set()
        server.stop(None).wait()


@contextlib.contextmanager
def rest_server(codes, answer=None):
    """The same over HTTP; 502 answers with HTML. `answered` is set after the first answer."""
    service = types.SimpleNamespace(asked=0, answered=threading.Event())
    codes, ended = list(codes), threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):  # noqa: D102
            service.asked += 1
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            code = codes.pop(0) if codes else 200
            if code is None:
                ended.wait()
                return
            files = [instance["image_bytes"] for instance in request["instances"]]
            if answer is not None:
                files = [{"b64": base64.b64encode(answer).decode()}]
            content = {"predictions": files} if code == 200 else {"error": "so it is"}
            self.send_response(code)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode() if code != 502 else b"<html>")
            service.answered.set()

        def log_message(self, *_):  # noqa: D102
            pass

        def handle(self):  # noqa: D102
            with contextlib.suppress(OSError):
                super().handle()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", service
    finally:
        ended.set()
        server.shutdown()
        server.server_close()
