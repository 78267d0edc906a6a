"""A development server with TensorFlow Serving's gRPC and REST interface, in this process.

    with StandIn("DIR/saved_model") as server:
        …  # server.grpc_port, server.rest_port

Clients can be tested with it where `tensorflow_model_server` is not installed. It does not batch,
has no labels, Classify, Regress or MultiInference, does not watch its folder for new versions, and
its HTTP server is Python's. Use TensorFlow Serving in production.
"""

from __future__ import annotations

from pathlib import Path

from restore_tf.errors import UserError
from restore_tf.serving.stand_in import models
from restore_tf.serving.stand_in.service import Service

MAX_BYTES = 256 * 2**20  # a 16-megapixel float32 picture over gRPC; JSON takes more
GRACE = 30.0  # seconds for running requests when the server is stopped
_SPARE = 8  # requests beyond the queue: for the status, and to be refused


class StandIn:
    """The running server; loads the model and listens when it is constructed.

    Attributes:
      model: the `models.Model` that is served.
      grpc_port: the port for gRPC.
      rest_port: the port for REST.
      rest: the `RestServer`.
    """

    def __init__(
        self,
        directory: str | Path,
        name: str = "restore_tf",
        *,
        host: str = "127.0.0.1",
        grpc_port: int = 0,
        rest_port: int = 0,
        concurrent: int = 1,
        queued: int = 16,
        max_bytes: int = MAX_BYTES,
        rest_seconds: float = 120.0,
    ):
        """Loads and listens.

        Args:
          directory: the folder whose sub-folders 1, 2, … are SavedModels.
          name: the model's name in requests.
          host: the address to listen on.
          grpc_port: 0 takes a free one.
          rest_port: 0 takes a free one.
          concurrent: computations at the same time; each takes the memory of one.
          queued: requests that wait for them; further ones are refused (UNAVAILABLE).
          max_bytes: the largest request, in bytes.
          rest_seconds: the deadline of REST predictions. Over gRPC, clients set deadlines.

        Raises:
          UserError: no model in the folder, a port that is taken, or a missing package.
        """
        try:
            from restore_tf.serving.stand_in.grpc_server import GrpcServer
        except ImportError as error:
            raise UserError(
                f"serving needs tensorflow-serving-api ({error}): pip install 'restore_tf[serve]'."
            ) from None
        from restore_tf.serving.stand_in.rest_server import RestServer

        self.model = models.load(directory, name)
        self._runner = models.Runner(concurrent, queued)
        service = Service(self.model, self._runner, max_elements=max_bytes)
        requests = concurrent + queued + _SPARE
        self.rest = RestServer(service, host, rest_port, max_bytes, requests, rest_seconds)
        try:
            self._grpc = GrpcServer(service, host, grpc_port, max_bytes, requests)
        except UserError:
            self.rest.stop(0)
            raise
        self.grpc_port, self.rest_port = self._grpc.port, self.rest.port

    def stop(self, grace: float = GRACE) -> None:
        """Stops accepting requests, finishes the running ones and ends.

        Args:
          grace: seconds for running requests.
        """
        ended = self._grpc.stop(grace)
        self.rest.stop(grace)
        ended.wait()
        self._runner.stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
