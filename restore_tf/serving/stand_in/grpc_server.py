"""The stand-in's gRPC side, on the generated stubs of tensorflow-serving-api."""

from __future__ import annotations

import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

import grpc
from tensorflow_serving.apis import (
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from restore_tf.errors import UserError
from restore_tf.serving.stand_in.models import as_status
from restore_tf.serving.stand_in.service import Service

_FOREVER = 10 * 365 * 86400.0  # seconds; gRPC expresses "no deadline" by a distant one


def _answer(context, function, *arguments):
    try:
        return function(*arguments)
    except Exception as error:  # of one request; the server continues
        status = as_status(error)
        if status.code == "INTERNAL":
            traceback.print_exc(file=sys.stderr)
        context.abort(grpc.StatusCode[status.code], status.message)


def _timeout(context):
    left = context.time_remaining()
    return None if left is None or left > _FOREVER else left


class _Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, service):
        self._service = service

    def Predict(self, request, context):
        return _answer(context, self._service.predict, request, _timeout(context))

    def GetModelMetadata(self, request, context):
        return _answer(context, self._service.metadata, request)


class _Models(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, service):
        self._service = service

    def GetModelStatus(self, request, context):
        return _answer(context, self._service.status, request)


class GrpcServer:
    """Serves a `Service` over gRPC from its construction until `stop`.

    Attributes:
      port: the port that it listens on.
    """

    def __init__(self, service: Service, host: str, port: int, max_bytes: int, requests: int):
        """Starts listening.

        Args:
          service: answers the requests.
          host: the address to listen on.
          port: 0 takes a free one.
          max_bytes: the largest request, in bytes.
          requests: the most that are held at the same time; further ones are refused.

        Raises:
          UserError: the port is taken, or the address is not one of this machine.
        """
        self._server = grpc.server(
            ThreadPoolExecutor(requests, thread_name_prefix="grpc"),
            maximum_concurrent_rpcs=requests,
            options=[
                ("grpc.max_receive_message_length", max_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),  # two servers on one port would share it silently
            ],
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            _Prediction(service), self._server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Models(service), self._server)
        try:
            self.port = self._server.add_insecure_port(f"{host}:{port}")
        except RuntimeError:
            self.port = 0
        if not self.port:
            raise UserError(f"--port {port}: cannot listen on {host}:{port}; choose another.")
        self._server.start()

    def stop(self, grace: float) -> threading.Event:
        """Stops accepting requests.

        Args:
          grace: seconds after which running requests are cancelled.

        Returns:
          An event, set when no request runs any more.
        """
        return self._server.stop(grace)
