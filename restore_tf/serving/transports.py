"""The client's two transports: gRPC and REST. `client` builds on them."""

from __future__ import annotations

import base64
import binascii
import threading
from pathlib import Path
from urllib.parse import SplitResult, quote

from restore_tf.errors import UserError
from restore_tf.serving import statuses

_INPUT, _OUTPUT = "image_bytes", "restored_bytes"
_LONGEST_WORDS = 300  # characters of a server's message that are passed on
_CONNECT_SECONDS = 10.0


class ServerError(UserError):
    """A server's error, or a server that does not answer.

    Attributes:
      transient: the same request may succeed a little later.
    """

    def __init__(self, message: str, transient: bool = False):
        super().__init__(message)
        self.transient = transient


def _words(text):
    return " ".join(str(text).split())[:_LONGEST_WORDS]


def _reason(error):
    """The cause of an error of `requests`."""
    return getattr(error.args[0] if error.args else error, "reason", error)


class Grpc:
    """PredictionService.Predict by the stubs of tensorflow-serving-api."""

    sixteen_bits = False  # whether pictures of 16 bits a channel go as they are

    def __init__(
        self,
        parts: SplitResult,
        model_name: str,
        version: int | None,
        signature: str,
        timeout: float,
        ca_file: Path | None = None,
    ):
        """Opens a channel, which connects when first used.

        Args:
          parts: the server's address.
          model_name: as `client.Client`'s, like the following ones.
          version: of the model; None for the server's latest.
          signature: of the SavedModel.
          timeout: seconds for one attempt.
          ca_file: PEM file of the certificates to trust; None for gRPC's own.

        Raises:
          UserError: tensorflow-serving-api is not installed.
        """
        try:
            import grpc
            from tensorflow_serving.apis import (
                model_service_pb2_grpc,
                prediction_service_pb2_grpc,
            )
        except ImportError as error:
            raise UserError(
                f"grpc:// needs tensorflow-serving-api ({error}): pip install "
                "'restore_tf[serve]', or use http://."
            ) from None
        self._grpc, self._timeout = grpc, timeout
        self._address = f"{parts.scheme}://{parts.netloc}"
        self._spec = {"name": model_name, "signature_name": signature}
        self._version = version
        options = [
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", -1),
            # By default a channel that failed answers for up to two minutes without trying.
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.min_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]
        if parts.scheme == "grpcs":
            trusted = grpc.ssl_channel_credentials(ca_file and ca_file.read_bytes())
            self._channel = grpc.secure_channel(parts.netloc, trusted, options)
        else:
            self._channel = grpc.insecure_channel(parts.netloc, options)
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def message_size(self, file_size: int) -> int:
        """Returns the approximate size of a request, in bytes.

        Args:
          file_size: of the file that it carries, in bytes.
        """
        return file_size

    def check(self) -> None:
        """Asks for the model's status.

        Raises:
          ServerError: no answer, or the model is not available.
        """
        from tensorflow_serving.apis import get_model_status_pb2

        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = self._spec["name"]
        self._fill_version(request)
        response = self._call(self._models.GetModelStatus, request)
        available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
        if not any(status.state == available for status in response.model_version_status):
            raise ServerError(
                f"{self._address}: {self._spec['name']} is not available yet.",
                transient=True,
            )

    def predict(self, file: bytes) -> bytes:
        """Returns the restored file's bytes.

        Args:
          file: a JPEG or PNG file's bytes.

        Raises:
          ServerError: the server's error, or an answer without a file.
        """
        from tensorflow.core.framework import types_pb2
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest(output_filter=[_OUTPUT])
        request.model_spec.name = self._spec["name"]
        request.model_spec.signature_name = self._spec["signature_name"]
        self._fill_version(request)
        tensor = request.inputs[_INPUT]
        tensor.dtype = types_pb2.DT_STRING
        tensor.tensor_shape.dim.add(size=1)
        tensor.string_val.append(file)
        response = self._call(self._prediction.Predict, request)
        if _OUTPUT not in response.outputs or len(response.outputs[_OUTPUT].string_val) != 1:
            raise ServerError(f"{self._address}: answered without {_OUTPUT}.")
        return response.outputs[_OUTPUT].string_val[0]

    def _fill_version(self, request):
        if self._version is not None:
            request.model_spec.version.value = self._version

    def _call(self, method, request):
        try:
            return method(request, timeout=self._timeout)
        except self._grpc.RpcError as error:
            code, words = error.code().name, error.details() or ""
            # gRPC gives too large a message the code of a full queue.
            transient = code in statuses.TRANSIENT and "larger than max" not in words
            raise ServerError(f"{self._address}: {code}: {_words(words)}", transient) from None
        except ValueError as error:  # the channel is closed
            raise ServerError(f"{self._address}: {_words(error)}") from None

    def close(self) -> None:
        """Closes the channel; calls under way end with an error."""
        self._channel.close()


class Rest:
    """POST …:predict with JSON and base64."""

    sixteen_bits = False

    def __init__(
        self,
        parts: SplitResult,
        model_name: str,
        version: int | None,
        signature: str,
        timeout: float,
        ca_file: Path | None = None,
    ):
        """Connects when first used.

        Args:
          parts: the server's address.
          model_name: as `client.Client`'s, like the following ones.
          version: of the model; None for the server's latest.
          signature: of the SavedModel.
          timeout: seconds without a byte received.
          ca_file: PEM file of the certificates to trust; None for those of `requests`.

        Raises:
          UserError: `requests` is not installed.
        """
        try:
            import requests
        except ImportError:
            raise UserError("http:// needs requests: pip install 'restore_tf[serve]'.") from None
        self._requests, self._timeout = requests, timeout
        self._trusted = str(ca_file) if ca_file else True
        self._address = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self._model = f"{self._address}/v1/models/{quote(model_name, safe='')}"
        if version is not None:
            self._model += f"/versions/{version}"
        self._signature, self._threads = signature, threading.local()

    def message_size(self, file_size: int) -> int:
        """Returns the approximate size of a request, in bytes: base64 adds a third.

        Args:
          file_size: of the file that it carries, in bytes.
        """
        return (file_size + 2) // 3 * 4

    def check(self) -> None:
        """Asks for the model's status.

        Raises:
          ServerError: no answer, or the model is not available.
        """
        status = self._call("GET", self._model)
        try:
            states = [version["state"] for version in status["model_version_status"]]
        except (KeyError, TypeError):
            raise ServerError(f"{self._address}: is not TensorFlow Serving's REST port.") from None
        if "AVAILABLE" not in states:
            raise ServerError(f"{self._model}: is not available yet.", transient=True)

    def predict(self, file: bytes) -> bytes:
        """Returns the restored file's bytes.

        Args:
          file: a JPEG or PNG file's bytes.

        Raises:
          ServerError: the server's error, or an answer without a file.
        """
        instances = [{_INPUT: {"b64": base64.b64encode(file).decode()}}]
        content = {"signature_name": self._signature, "instances": instances}
        answer = self._call("POST", f"{self._model}:predict", content)
        try:
            return base64.b64decode(answer["predictions"][0]["b64"], validate=True)
        except (KeyError, TypeError, IndexError, binascii.Error):
            raise ServerError(f"{self._address}: answered without {_OUTPUT}.") from None

    def _call(self, method, address, content=None):
        return self._content(self._send(method, address, json=content))

    def _send(self, method, address, **options):
        """Returns the response; a ServerError where none comes."""
        timeout = (min(_CONNECT_SECONDS, self._timeout), self._timeout)
        try:
            return self._session().request(
                method,
                address,
                timeout=timeout,
                allow_redirects=False,
                verify=self._trusted,
                **options,
            )
        except self._requests.Timeout:
            raise ServerError(
                f"{self._address}: no answer within {self._timeout:g} s.", transient=True
            ) from None
        except self._requests.exceptions.SSLError as error:  # asking again does not help
            raise ServerError(
                f"{self._address}: no TLS that is trusted ({_words(_reason(error))}); --ca_file "
                "says which certificates are."
            ) from None
        except self._requests.ConnectionError as error:
            raise ServerError(
                f"{self._address}: cannot be reached ({_words(_reason(error))}).", transient=True
            ) from None
        except self._requests.RequestException as error:
            raise ServerError(f"{self._address}: {_words(error)}") from None

    def _content(self, response):
        """Returns a response's JSON; a ServerError for any status but 200."""
        try:
            content = response.json()
        except ValueError:
            content = None
        if response.status_code == 200 and content is not None:
            return content
        self._refuse(response, content)

    def _refuse(self, response, content):
        """Raises what a response that is no success says."""
        words = content.get("error") if isinstance(content, dict) else response.text
        raise ServerError(
            f"{self._address}: {response.status_code}: {_words(words) or 'no message'}",
            transient=response.status_code in statuses.TRANSIENT_HTTP,
        )

    def _session(self):
        # A session is one thread's.
        if not hasattr(self._threads, "session"):
            self._threads.session = self._requests.Session()
        return self._threads.session

    def close(self) -> None:
        """Does nothing: connections end with their threads."""
