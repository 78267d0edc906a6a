"""Servers that answer with errors in turn, or late, before they give a file back as it came."""

import concurrent.futures
import contextlib
import http.server
import json
import threading
import time

import grpc
from tensorflow_serving.apis import (
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

LATE = 2.0  # seconds that an answer takes that comes late


class Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Gives the codes in turn, then the file back as it came; None: an answer that comes late."""

    def __init__(self, codes):
        self.codes, self.asked = list(codes), 0

    def Predict(self, request, context):
        """Answers one request."""
        self.asked += 1
        if self.codes:
            code = self.codes.pop(0)
            if code is None:
                time.sleep(LATE)
            else:
                context.abort(getattr(grpc.StatusCode, code), "so it is")
        response = predict_pb2.PredictResponse()
        response.outputs["restored_bytes"].CopyFrom(request.inputs["image_bytes"])
        return response


@contextlib.contextmanager
def grpc_server(codes):
    """Yields an address and what counts, as `asked`, how often it was asked."""
    service = Prediction(codes)
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
        server.stop(None).wait()


@contextlib.contextmanager
def rest_server(codes):
    """The same over HTTP; 502 answers with HTML."""
    codes, service = list(codes), type("", (), {"asked": 0})()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):  # noqa: D102
            service.asked += 1
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            code = codes.pop(0) if codes else 200
            if code is None:
                time.sleep(LATE)
                code = 200
            files = [instance["image_bytes"] for instance in request["instances"]]
            answer = {"predictions": files} if code == 200 else {"error": "so it is"}
            self.send_response(code)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode() if code != 502 else b"<html>")

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
        server.shutdown()
        server.server_close()
