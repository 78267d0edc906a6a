"""The stand-in's REST side: TensorFlow Serving's paths on the standard library's HTTP server."""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
import time
import traceback
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from restore_tf.errors import UserError
from restore_tf.serving.stand_in import rest_json
from restore_tf.serving.stand_in.models import as_status
from restore_tf.serving.stand_in.service import Service
from restore_tf.serving.statuses import HTTP, StatusError

_PATH = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d{1,18}))?(/metadata|:[a-z]+)?")
_SILENCE = 30.0  # seconds without a byte from a client
_DISCARDED = 2**30  # bytes of a refused request that are read so that the answer arrives
_LINGERING = 2.0  # seconds that the rest of a request of unknown length is read for


class _Handler(BaseHTTPRequestHandler):
    server_version = "restore-tf-stand-in"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = _SILENCE

    def do_GET(self):
        self._handle(self._get)

    def do_POST(self):
        self._handle(self._post)

    def _handle(self, respond):
        self.server.begin()
        try:
            status, body = 200, respond()
        except Exception as error:  # of one request; the server continues
            failure = as_status(error)
            if failure.code == "INTERNAL":
                traceback.print_exc(file=sys.stderr)
            status = getattr(error, "http", HTTP[failure.code])
            body = json.dumps({"error": failure.message}).encode()
        try:
            self._send(status, body)
            if status == HTTPStatus.LENGTH_REQUIRED:
                self._linger()
        except OSError:  # the client is gone
            self.close_connection = True
        finally:
            self.server.end()

    def _send(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")  # so that stopping waits for no idle client
        self.end_headers()
        self.wfile.write(body)

    def _asked(self):
        found = _PATH.fullmatch(self.path)
        if found is None:
            raise StatusError(
                "INVALID_ARGUMENT", f"Malformed request: {self.command} {self.path[:200]}"
            )
        return found[1], int(found[2]) if found[2] else None, found[3]

    def _get(self):
        from google.protobuf import json_format
        from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

        name, version, what = self._asked()
        as_json = {
            "preserving_proto_field_name": True,
            "always_print_fields_with_no_presence": True,
        }
        if what is None:
            request = get_model_status_pb2.GetModelStatusRequest()
            _fill(request.model_spec, name, version)
            response = self.server.service.status(request)
            return json_format.MessageToJson(response, **as_json).encode()
        if what != "/metadata":
            raise StatusError("INVALID_ARGUMENT", f"Malformed request: GET {self.path[:200]}")
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        _fill(request.model_spec, name, version)
        response = self.server.service.metadata(request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        content = {
            "model_spec": json_format.MessageToDict(response.model_spec, **as_json),
            "metadata": {"signature_def": json_format.MessageToDict(signatures, **as_json)},
        }
        return json.dumps(content).encode()

    def _post(self):
        if self.server.running > self.server.requests:
            self._discard(self._length() or 0)
            raise StatusError("UNAVAILABLE", f"{self.server.requests} requests are being read")
        body = self._body()
        started = time.monotonic()
        name, number, what = self._asked()
        if what in (":classify", ":regress"):
            raise StatusError("UNIMPLEMENTED", f"{what[1:]}: the stand-in does :predict only")
        if what != ":predict":
            raise StatusError("INVALID_ARGUMENT", f"Malformed request: POST {self.path[:200]}")
        service = self.server.service
        version = service.model.version(name, number)
        request = rest_json.parse(body)
        signature = rest_json.signature_name(request)
        inputs, in_rows = rest_json.inputs(request, version.definition(signature))
        left = self.server.seconds - (time.monotonic() - started)
        _, outputs = service.run_signature(name, number, signature, inputs, max(left, 0))
        return rest_json.answer(outputs, in_rows)

    def handle_expect_100(self):
        """Refuses a request that is too large before its body is sent."""
        if (self._length() or 0) <= self.server.max_bytes:
            return super().handle_expect_100()
        self._handle(self._too_large)
        return False

    def _length(self):
        text = self.headers.get("Content-Length", "")
        return int(text) if text.isascii() and text.isdigit() else None

    def _too_large(self):
        error = StatusError(
            "INVALID_ARGUMENT", f"the request is larger than {self.server.max_bytes} bytes"
        )
        error.http = 413
        raise error

    def _body(self):
        length = self._length()
        if length is None:
            error = StatusError("INVALID_ARGUMENT", "expecting a Content-Length")
            error.http = HTTPStatus.LENGTH_REQUIRED
            raise error
        if length > self.server.max_bytes:
            self._discard(length)
            self._too_large()
        body = self.rfile.read(length)
        if len(body) < length:
            raise StatusError("INVALID_ARGUMENT", "the request ended early")
        return body

    def _discard(self, length):
        left = min(length, _DISCARDED)
        while left and (piece := self.rfile.read(min(left, 2**20))):
            left -= len(piece)

    def _linger(self):
        """Reads a body of unknown length after the answer.

        To close a connection with bytes unread resets it, and the client may lose the answer.
        """
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(_LINGERING)
        ends, left = time.monotonic() + _LINGERING, _DISCARDED
        while left > 0 and time.monotonic() < ends and (piece := self.rfile.read1(2**16)):
            left -= len(piece)

    def send_error(self, code, message=None, explain=None):
        """Answers what the standard library refuses (methods, long lines) as TF Serving would.

        Args:
          code: the HTTP status.
          message: one line; None for the status's usual words.
          explain: not used.
        """
        words = message or self.responses.get(code, ("error",))[0]
        self._send(int(code), json.dumps({"error": words}).encode())

    def log_message(self, format, *args):
        pass


def _fill(spec, name, version):
    spec.name = name
    if version is not None:
        spec.version.value = version


class RestServer(ThreadingHTTPServer):
    """Serves a `Service` over HTTP from its construction until `stop`.

    Attributes:
      port: the port that it listens on.
      service: answers the requests.
      max_bytes: the largest request, in bytes.
      seconds: until a prediction is answered with DEADLINE_EXCEEDED.
      requests: the most that are held at the same time; further ones are refused unread.
      running: requests at the moment.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self,
        service: Service,
        host: str,
        port: int,
        max_bytes: int,
        requests: int,
        seconds: float,
    ):
        """Starts listening.

        Args:
          service: answers the requests.
          host: the address to listen on.
          port: 0 takes a free one.
          max_bytes: the largest request, in bytes.
          requests: the most that are held at the same time; further ones are refused unread.
          seconds: until a prediction is answered with DEADLINE_EXCEEDED.

        Raises:
          UserError: the port is taken, or the address is not one of this machine.
        """
        self.service, self.max_bytes, self.requests = service, max_bytes, requests
        self.seconds, self.running = seconds, 0
        self._changed = threading.Condition()
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise UserError(
                f"--rest_api_port {port}: cannot listen on {host}:{port} ({error.strerror}); "
                "choose another."
            ) from None
        self.port = self.server_address[1]
        threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.1}, name="rest", daemon=True
        ).start()

    def server_bind(self):
        """Binds without the standard library's host name look-up."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.server_address[:2]

    def handle_error(self, request, client_address):
        """Prints unexpected errors; connections that clients closed are ignored.

        Args:
          request: not used.
          client_address: not used.
        """
        if not isinstance(sys.exc_info()[1], OSError):
            traceback.print_exc(file=sys.stderr)

    def begin(self):
        """Counts a request as running."""
        with self._changed:
            self.running += 1

    def end(self):
        """Counts a request as finished."""
        with self._changed:
            self.running -= 1
            self._changed.notify_all()

    def stop(self, grace: float) -> None:
        """Stops accepting requests and waits for the running ones.

        Args:
          grace: seconds to wait at most.
        """
        self.shutdown()
        self.server_close()
        with self._changed:
            self._changed.wait_for(lambda: not self.running, grace)
