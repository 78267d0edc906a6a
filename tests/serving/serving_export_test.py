"""A network of ours from its export to the client: warm-up, stand-in, gRPC and REST."""

import keras
import numpy as np
import pytest
import skimage.data
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2
from tiny_papers import tiny

import restore_tf
from restore_tf.experiments import experiment
from restore_tf.export import saved_model
from restore_tf.serving import warm_up
from restore_tf.serving.client import Client
from restore_tf.serving.stand_in.server import StandIn
from restore_tf.serving.transports import ServerError

CAT = skimage.data.chelsea()


@pytest.fixture(
    scope="module", params=["srn/gopro", pytest.param("dncnn/sigma25", marks=pytest.mark.slow)]
)
def exported(request, tmp_path_factory):
    keras.utils.set_random_seed(1)
    model = experiment.build(tiny(request.param))
    folder = tmp_path_factory.mktemp("export") / "saved_model"
    saved_model.write(model, folder / "1")
    assert warm_up.write_requests(folder / "1", "net", [(16, 24)], model.channels) == 3
    return model, folder


def test_warm_up_requests_run(exported):
    model, folder = exported
    signatures = tf.saved_model.load(str(folder / "1")).signatures
    records = list(tf.data.TFRecordDataset(str(folder / "1" / warm_up.PLACE)).as_numpy_iterator())
    assert len(records) == 3
    for record in records:
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        inputs = {n: tf.constant(tf.make_ndarray(t)) for n, t in request.inputs.items()}
        (output,) = signatures[request.model_spec.signature_name](**inputs).values()
        assert output.shape in [(1,), (1, 16, 24, model.channels)]


def test_the_client_gets_what_restore_gives(exported):
    model, folder = exported
    pictures = [CAT[:37, :50], CAT[100:101, :9], CAT[:1, :1], CAT[50:90, 60:91, 0]]
    with StandIn(folder, "net") as server:
        for address in (
            f"grpc://127.0.0.1:{server.grpc_port}",
            f"http://127.0.0.1:{server.rest_port}",
        ):
            with Client(address, "net", retries=0) as client:
                client.check()
                for pixels in pictures:
                    expected = restore_tf.restore(model, pixels).astype(int)
                    restored = client.restore(pixels).astype(int)
                    assert np.abs(restored - expected).max() <= 1  # rounding may fall either way
                with pytest.raises(ServerError, match="not a JPEG or PNG file"):
                    client.restore_file(b"no picture")


def test_values_outside_the_range_are_a_clients_error(exported):
    """Over both wires: INVALID_ARGUMENT, and the server goes on."""
    import grpc
    import requests
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    model, folder = exported
    with StandIn(folder, "net") as server:
        address = f"http://127.0.0.1:{server.rest_port}/v1/models/net:predict"
        channel = grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}")
        predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
        for value in (255.0, -1.0, float("nan")):
            images = np.full((1, 8, 8, model.channels), value, np.float32)
            if value == value:  # JSON has no NaN
                answer = requests.post(address, json={"instances": images.tolist()}, timeout=60)
                assert answer.status_code == 400
                assert "finite values in [0, 1]" in answer.json()["error"]
            request = predict_pb2.PredictRequest()
            request.model_spec.name = "net"
            request.inputs["images"].CopyFrom(tf.make_tensor_proto(images))
            with pytest.raises(grpc.RpcError, match="finite values in") as error:
                predict(request, timeout=60)
            assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        images = np.full((1, 8, 8, model.channels), 0.5).tolist()
        answer = requests.post(address, json={"instances": images}, timeout=60)
        assert answer.status_code == 200
