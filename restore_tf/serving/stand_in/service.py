"""The answers of TensorFlow Serving's services, as protocol buffers.

Part of the stand-in server. `grpc_server` and `rest_server` put them on the network.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from restore_tf.serving.stand_in.models import DEFAULT_SIGNATURE, Model, Runner
from restore_tf.serving.statuses import StatusError

_METADATA_FIELD = "signature_def"


class Service:
    """PredictionService's and ModelService's answers for one model.

    Attributes:
      model: the served model.
      max_elements: the largest accepted tensor, in elements.
    """

    def __init__(self, model: Model, runner: Runner, max_elements: int):
        self.model = model
        self.max_elements = max_elements
        self._runner = runner

    def run_signature(
        self,
        name: str,
        number: int | None,
        signature: str,
        inputs: Mapping[str, np.ndarray],
        timeout: float | None,
    ) -> tuple[int, dict[str, np.ndarray]]:
        """Runs a signature on arrays.

        Args:
          name: the model's.
          number: the version's; None for the latest.
          signature: its name.
          inputs: {name: array}.
          timeout: seconds until the deadline; None for none.

        Returns:
          The version's number, and {name: array} of the outputs.

        Raises:
          StatusError: the request is invalid, the queue is full, the deadline passed, or running it
            failed.
        """
        version = self.model.version(name, number)
        version.check(signature, inputs)
        outputs = self._runner.run(lambda: version.run_signature(signature, inputs), timeout)
        return version.number, outputs

    def predict(self, request, timeout: float | None):
        """Answers a `PredictRequest` with a `PredictResponse`.

        Args:
          request: the `PredictRequest`.
          timeout: seconds until the deadline; None for none.

        Returns:
          A `PredictResponse`.

        Raises:
          StatusError: as `run_signature`, or an unknown output.
        """
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        spec, signature = request.model_spec, request.model_spec.signature_name or DEFAULT_SIGNATURE
        inputs = {name: self._array(name, tensor) for name, tensor in request.inputs.items()}
        asked = version_asked(spec)
        number, outputs = self.run_signature(spec.name, asked, signature, inputs, timeout)
        wanted = list(request.output_filter) or list(outputs)
        response = predict_pb2.PredictResponse()
        _fill_spec(response.model_spec, spec.name, number, signature)
        for name in wanted:
            if name not in outputs:
                raise StatusError("INVALID_ARGUMENT", f"output tensor alias not found: {name}")
            response.outputs[name].CopyFrom(tf.make_tensor_proto(outputs[name]))
        return response

    def _array(self, name, tensor):
        import tensorflow as tf

        # A few bytes can claim to be a huge tensor: one value stands for all that follow it.
        sides = [dimension.size for dimension in tensor.tensor_shape.dim]
        if min(sides, default=0) < 0 or math.prod(sides) > self.max_elements:
            raise StatusError("INVALID_ARGUMENT", f"{name}: has the shape {sides}, out of bounds")
        try:
            return tf.make_ndarray(tensor)
        except (TypeError, ValueError) as error:
            raise StatusError("INVALID_ARGUMENT", f"{name}: is no tensor ({error})") from None

    def metadata(self, request):
        """Answers a `GetModelMetadataRequest` with a `GetModelMetadataResponse`.

        Args:
          request: the `GetModelMetadataRequest`.

        Returns:
          A `GetModelMetadataResponse`.

        Raises:
          StatusError: no field, an unknown one, or no such model or version.
        """
        from tensorflow_serving.apis import get_model_metadata_pb2

        if not request.metadata_field:
            raise StatusError(
                "INVALID_ARGUMENT",
                "GetModelMetadataRequest must specify at least one metadata_field",
            )
        for field in request.metadata_field:
            if field != _METADATA_FIELD:
                raise StatusError("INVALID_ARGUMENT", f"Metadata field {field} is not supported")
        version = self.model.version(request.model_spec.name, version_asked(request.model_spec))
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, definition in version.definitions.items():
            signatures.signature_def[name].CopyFrom(definition)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        _fill_spec(response.model_spec, request.model_spec.name, version.number)
        response.metadata[_METADATA_FIELD].Pack(signatures)
        return response

    def status(self, request):
        """Answers a `GetModelStatusRequest` with a `GetModelStatusResponse`.

        Args:
          request: the `GetModelStatusRequest`.

        Returns:
          A `GetModelStatusResponse`.

        Raises:
          StatusError: no such model or version.
        """
        from tensorflow_serving.apis import get_model_status_pb2

        name, number = request.model_spec.name, version_asked(request.model_spec)
        if name != self.model.name:
            raise StatusError("NOT_FOUND", f"Could not find any versions of model {name}")
        if number is not None and number not in self.model.versions:
            raise StatusError("NOT_FOUND", f"Could not find version {number} of model {name}")
        response = get_model_status_pb2.GetModelStatusResponse()
        available = get_model_status_pb2.ModelVersionStatus.State.AVAILABLE
        for known in reversed(self.model.versions):
            if number in (None, known):
                status = response.model_version_status.add(version=known, state=available)
                status.status.error_code = 0
        return response


def version_asked(spec) -> int | None:
    """Returns the number in a `ModelSpec`; None for the latest.

    Args:
      spec: of the request.

    Raises:
      StatusError: it asks by label, and the stand-in has none.
    """
    choice = spec.WhichOneof("version_choice")
    if choice == "version_label":
        raise StatusError(
            "INVALID_ARGUMENT", f"version label {spec.version_label}: there are no labels here"
        )
    return spec.version.value if choice == "version" else None


def _fill_spec(spec, name, number, signature=""):
    spec.name = name
    spec.version.value = number
    spec.signature_name = signature
