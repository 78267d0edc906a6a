"""A server for development with TensorFlow Serving's gRPC and REST surface, in this process.

    with StandIn("DIR/saved_model") as server:
        …  # server.grpc_port, server.rest_port

It is here so that clients can be tried end to end where `tensorflow_model_server` is not. It does
not batch, knows neither labels nor Classify, Regress and MultiInference, watches no folder for new
versions, and its HTTP server is Python's. Use TensorFlow Serving in production.
"""

from __future__ import annotations

from pathlib import Path

from restore_tf.errors import UserError
from restore_tf.serving.stand_in import models
from restore_tf.serving.stand_in.service import Service

MAX_BYTES = 256 * 2**20  # a 16-megapixel float32 picture over gRPC; JSON takes more
GRACE = 30.0  # seconds for what runs when the server is stopped
_SPARE = 8  # requests beyond the queue: for the status, and to be refused


class StandIn:
    """The running server; loads the model and listens when it is made.

    Attributes:
      model: the `models.Model` that is served.
      grpc_port, rest_port: what it listens on.
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
          name: what requests call the model.
          host: the address to listen on.
          grpc_port, rest_port: 0 takes a free one.
          concurrent: computations at the same time; each takes the memory of one.
          queued: requests that wait for them; further ones are refused (UNAVAILABLE).
          max_bytes: the largest request.
          rest_seconds: until a REST prediction is given up. gRPC has its clients' deadlines.

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
        """Takes no more requests, finishes what runs within `grace` seconds, and ends."""
        ended = self._grpc.stop(grace)
        self.rest.stop(grace)
        ended.wait()
        self._runner.stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
