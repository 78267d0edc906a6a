"""The stand-in server against TensorFlow Serving's generated stubs and documented REST answers."""

import base64
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.parse

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
import tiny_serving
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from restore_tf.errors import UserError
from restore_tf.serving.stand_in.models import Runner
from restore_tf.serving.stand_in.server import StandIn
from restore_tf.serving.statuses import StatusError

PHOTO = np.random.default_rng(0).integers(0, 256, (9, 14, 3), np.uint8)
OTHER = np.random.default_rng(1).integers(0, 256, (5, 6, 3), np.uint8)
LIMIT = 2**20


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tiny_serving.save(tmp_path_factory.mktemp("models"), versions=(2, 10))
    (folder / "notes").mkdir()
    with StandIn(folder, "tiny", max_bytes=LIMIT, concurrent=2, queued=30) as server:
        yield server


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        yield channel


@pytest.fixture(scope="module")
def predict(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict


@pytest.fixture(scope="module")
def address(server):
    return f"http://127.0.0.1:{server.rest_port}/v1/models/tiny"


def files_request(*files, name="tiny", signature="serving_bytes", version=None):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(list(files), tf.string))
    return request


def refused(code, call, *arguments, **options):
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, timeout=20, **options)
    assert caught.value.code() == grpc.StatusCode[code], caught.value.details()


def post(address, **content):
    return requests.post(f"{address}:predict", json=content, timeout=20)


def b64(file):
    return {"b64": base64.b64encode(file).decode()}


def test_grpc_predict_files_of_different_sizes(predict):
    request = files_request(tiny_serving.png(PHOTO), tiny_serving.png(OTHER))
    response = predict(request, timeout=20)
    restored = tf.make_ndarray(response.outputs["restored_bytes"])
    np.testing.assert_array_equal(tiny_serving.pixels(restored[0]), 255 - PHOTO)
    np.testing.assert_array_equal(tiny_serving.pixels(restored[1]), 255 - OTHER)
    assert response.model_spec.version.value == 10
    assert response.model_spec.signature_name == "serving_bytes"


def test_grpc_predict_floats_is_the_default_signature(predict):
    images = np.random.default_rng(2).random((2, 3, 5, 3), np.float32)
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "tiny"
    request.inputs["images"].CopyFrom(tf.make_tensor_proto(images))
    request.output_filter.append("restored")
    restored = tf.make_ndarray(predict(request, timeout=20).outputs["restored"])
    np.testing.assert_array_equal(restored, 1 - images)
    request.output_filter.append("sharp")
    refused("INVALID_ARGUMENT", predict, request)


def test_grpc_versions(predict):
    request = files_request(tiny_serving.png(PHOTO), version=2)
    assert predict(request, timeout=20).model_spec.version.value == 2


def labelled():
    request = files_request(b"")
    request.model_spec.version_label = "stable"
    return request


def holding(tensor, elements=None):
    """A request whose shape may claim more elements than there are."""
    request = files_request(b"")
    request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(tensor))
    if elements is not None:
        request.inputs["image_bytes"].tensor_shape.dim[0].size = elements
    return request


@pytest.mark.parametrize(
    ("code", "request_"),
    [
        ("NOT_FOUND", files_request(b"", version=3)),
        ("NOT_FOUND", files_request(b"", name="other")),
        ("INVALID_ARGUMENT", labelled()),
        ("FAILED_PRECONDITION", files_request(b"", signature="sharpen")),
        ("INVALID_ARGUMENT", files_request(b"", signature="serving_default")),  # other inputs
        ("INVALID_ARGUMENT", holding([[b"a"]])),  # another shape
        ("INVALID_ARGUMENT", holding([1.0])),  # another type
        ("INVALID_ARGUMENT", holding([1.0], elements=2**40)),  # in 20 bytes
        ("RESOURCE_EXHAUSTED", files_request(bytes(LIMIT + 1))),
    ],
    ids="version name label signature inputs shape type huge_shape size".split(),
)
def test_grpc_refuses(predict, code, request_):
    refused(code, predict, request_)


def test_garbage_hits_its_own_request_only(predict, server):
    png, answers = tiny_serving.png(PHOTO), {}

    def send(index):
        garbage = (b"", b"no picture", png[:60], png[:20] + b"\xff" * 99)
        file = png if index % 3 else garbage[index % 4]
        try:
            answers[index] = predict(files_request(file), timeout=60)
        except grpc.RpcError as error:
            answers[index] = error.code()

    threads = [threading.Thread(target=send, args=(index,)) for index in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 24
    for index, answer in answers.items():
        if index % 3:
            (file,) = tf.make_ndarray(answer.outputs["restored_bytes"])
            np.testing.assert_array_equal(tiny_serving.pixels(file), 255 - PHOTO)
        else:
            assert answer == grpc.StatusCode.INVALID_ARGUMENT


def test_grpc_metadata(channel):
    call = prediction_service_pb2_grpc.PredictionServiceStub(channel).GetModelMetadata
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "tiny"
    response = call(request, timeout=20)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    files = signatures.signature_def["serving_bytes"]
    assert set(signatures.signature_def) == {"serving_default", "serving_bytes"}
    assert files.inputs["image_bytes"].dtype == tf.string.as_datatype_enum
    assert set(files.outputs) == {"restored_bytes"}
    refused("INVALID_ARGUMENT", call, get_model_metadata_pb2.GetModelMetadataRequest())
    request.metadata_field.append("weights")
    refused("INVALID_ARGUMENT", call, request)


def test_grpc_status(channel):
    call = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "tiny"
    found = call(request, timeout=20).model_version_status
    assert [status.version for status in found] == [10, 2]
    available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
    assert all(status.state == available for status in found)
    request.model_spec.version.value = 2
    assert len(call(request, timeout=20).model_version_status) == 1
    request.model_spec.version.value = 3
    refused("NOT_FOUND", call, request)
    request.model_spec.name = "other"
    refused("NOT_FOUND", call, request)


def test_what_the_stand_in_does_not_do_is_unimplemented(channel):
    from tensorflow_serving.apis import classification_pb2

    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    refused("UNIMPLEMENTED", stub.Classify, classification_pb2.ClassificationRequest())


def test_rest_status(address):
    # The answer in TF Serving's api_rest.md, with our versions.
    found = requests.get(address, timeout=20)
    assert found.headers["Content-Type"] == "application/json"
    status = {"state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    expected = [{"version": "10", **status}, {"version": "2", **status}]
    assert found.json() == {"model_version_status": expected}
    found = requests.get(f"{address}/versions/2", timeout=20).json()
    assert found == {"model_version_status": expected[1:]}


def test_rest_metadata(address):
    found = requests.get(f"{address}/versions/2/metadata", timeout=20).json()
    assert found["model_spec"] == {"name": "tiny", "signature_name": "", "version": "2"}
    signatures = found["metadata"]["signature_def"]["signature_def"]
    info = signatures["serving_bytes"]["inputs"]["image_bytes"]
    assert (info["dtype"], info["tensor_shape"]["dim"][0]["size"]) == ("DT_STRING", "-1")


@pytest.mark.parametrize("named", [False, True])
def test_rest_rows_of_files(address, named):
    rows = [b64(tiny_serving.png(PHOTO)), b64(tiny_serving.png(OTHER))]
    rows = [{"image_bytes": row} for row in rows] if named else rows
    found = post(address, signature_name="serving_bytes", instances=rows).json()["predictions"]
    restored = [tiny_serving.pixels(base64.b64decode(item["b64"])) for item in found]
    np.testing.assert_array_equal(restored[0], 255 - PHOTO)
    np.testing.assert_array_equal(restored[1], 255 - OTHER)


@pytest.mark.parametrize("named", [False, True])
def test_rest_columns_of_files(address, named):
    files = [b64(tiny_serving.png(PHOTO)), b64(tiny_serving.png(OTHER))]
    files = {"image_bytes": files} if named else files
    found = post(f"{address}/versions/2", signature_name="serving_bytes", inputs=files).json()
    restored = tiny_serving.pixels(base64.b64decode(found["outputs"][1]["b64"]))
    np.testing.assert_array_equal(restored, 255 - OTHER)


def test_rest_floats(address):
    images = np.random.default_rng(3).random((1, 2, 3, 3), np.float32)
    found = post(address, instances=images.tolist()).json()["predictions"]
    np.testing.assert_array_equal(np.float32(found), 1 - images)
    found = post(address, inputs={"images": images.tolist()}).json()["outputs"]
    np.testing.assert_array_equal(np.float32(found), 1 - images)


def asked(server, method, path, body=b"", **headers):
    """Sends a path as it is, dots and all, below /v1/models; returns status and answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=20)
    with contextlib.closing(connection):
        connection.request(method, f"/v1/models{path}", body, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


FILES = {"signature_name": "serving_bytes"}
PREDICT = "/tiny:predict"


REFUSED = {
    "no text": (400, "POST", PREDICT, b"\xff\xfe"),
    "no object": (400, "POST", PREDICT, b"[1]"),
    "deeply nested": (400, "POST", PREDICT, b"[" * 100_000),
    "no inputs": (400, "POST", PREDICT, {}),
    "no rows": (400, "POST", PREDICT, {"instances": []}),
    "another type": (400, "POST", PREDICT, {"instances": ["text"]}),
    "ragged": (400, "POST", PREDICT, {"instances": [[1, 2], [3]]}),
    "another shape": (400, "POST", PREDICT, {"instances": [[1, 2], [3, 4]]}),
    "another form": (400, "POST", PREDICT, {"instances": [{"images": 1}, 2]}),
    "a signature that is no text": (400, "POST", PREDICT, {"signature_name": 3, "instances": [1]}),
    "another signature": (400, "POST", PREDICT, {"signature_name": "sharpen", "instances": [1]}),
    "no base64": (400, "POST", PREDICT, {**FILES, "instances": [{"b64": "%"}]}),
    "no picture": (400, "POST", PREDICT, {**FILES, "instances": [b64(b"no picture")]}),
    "too large": (413, "POST", PREDICT, b" " * (LIMIT + 1)),
    "no length": (411, "POST", PREDICT, iter([b"{}"])),
    "another task": (501, "POST", "/tiny:classify", {}),
    "another method": (501, "PUT", "/tiny", b"x"),
    "another model": (404, "GET", "/other", b""),
    "another version": (404, "GET", "/tiny/versions/3", b""),
    "no version": (400, "GET", "/tiny/versions/x", b""),
    "a way out": (400, "GET", "/../../etc/passwd", b""),
    "a long path": (414, "GET", "/" + "x" * 70_000, b""),
}


@pytest.mark.parametrize("name", REFUSED)
def test_rest_refuses(server, name):
    status, method, path, body = REFUSED[name]
    body = json.dumps(body).encode() if isinstance(body, dict) else body
    found, answer = asked(server, method, path, body)
    assert (found, list(answer)) == (status, ["error"])


def test_a_body_of_unknown_length_is_read_after_the_answer(server):
    """To close on unread bytes resets the connection, which can cost the client the answer."""
    with socket.create_connection(("127.0.0.1", server.rest_port), timeout=20) as connection:
        head = f"POST /v1/models{PREDICT} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(12) == b"HTTP/1.1 411"
        for _ in range(8):  # more than the system holds for a reader: fails where it is gone
            connection.sendall(b"100000\r\n" + bytes(2**20) + b"\r\n")
        connection.sendall(b"0\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        rest = b"".join(iter(lambda: connection.recv(2**16), b""))
    assert b"Content-Length" in rest


def test_rest_names_the_model_that_it_lacks(server):
    # The answer in TF Serving's api_rest.md.
    found = asked(server, "POST", "/other:predict", b'{"instances": [1]}')
    assert found == (404, {"error": "Servable not found for request: Latest(other)"})


def test_rest_refuses_a_large_request_before_it_is_sent(server):
    headers = {"Expect": "100-continue", "Content-Length": str(LIMIT + 1)}
    assert asked(server, "POST", PREDICT, None, **headers)[0] == 413


def test_rest_refuses_unread_what_is_too_many(server, address, monkeypatch):
    monkeypatch.setattr(server.rest, "requests", 0)
    found = post(address, instances=[[[[1.0, 2.0, 3.0]]]])
    assert (found.status_code, list(found.json())) == (503, ["error"])
    assert requests.get(address, timeout=20).status_code == 200


def test_a_full_queue_refuses():
    """Of three at once one runs, one waits, and one is refused."""
    runner, release, refused_ = Runner(concurrent=1, queued=1), threading.Event(), threading.Event()
    outcomes = []

    def ask():
        try:
            outcomes.append(runner.run(lambda: release.wait(20), 20))
        except StatusError as error:
            outcomes.append(error.code)
            refused_.set()

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert refused_.wait(20)
    release.set()
    for thread in threads:
        thread.join()
    assert outcomes == ["UNAVAILABLE", True, True]
    assert runner.run(lambda: 3, 20) == 3
    runner.stop()


def test_deadlines_are_kept_and_given_up_requests_leave_the_queue():
    runner, release, ran = Runner(concurrent=1, queued=1), threading.Event(), []
    for wait in (0.05, 0.0):  # the first runs on, the second was never begun
        with pytest.raises(StatusError) as caught:
            runner.run(lambda: (release.wait(20), ran.append(1)), wait)
        assert caught.value.code == "DEADLINE_EXCEEDED"
    release.set()
    assert runner.run(lambda: 3, 20) == 3
    assert len(ran) == 1
    runner.stop()


def test_grpc_deadline(tmp_path):
    slow = tiny_serving.save(tmp_path, tiny_serving.Slow)
    with StandIn(slow, "slow", rest_seconds=0.05) as server:
        images = np.full((1, 1, 1, 3), 1000, np.float32)
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            request = predict_pb2.PredictRequest()
            request.model_spec.name = "slow"
            request.inputs["images"].CopyFrom(tf.make_tensor_proto(images))
            call = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
            with pytest.raises(grpc.RpcError) as caught:
                call(request, timeout=0.05)
            assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        address = f"http://127.0.0.1:{server.rest_port}/v1/models/slow"
        found = post(address, instances=images.tolist())
        assert (found.status_code, list(found.json())) == (504, ["error"])


def test_ports_and_folders_that_cannot_be_used(server, tmp_path):
    folder = tiny_serving.save(tmp_path / "good")
    with pytest.raises(UserError, match="rest_api_port"):
        StandIn(folder, rest_port=server.rest_port)
    with pytest.raises(UserError, match="--port"):
        StandIn(folder, grpc_port=server.grpc_port)
    (tmp_path / "bad" / "1").mkdir(parents=True)
    with pytest.raises(UserError, match="bad"):
        StandIn(tmp_path / "bad")
    (tmp_path / "bad" / "1" / "saved_model.pb").write_bytes(b"no model")
    with pytest.raises(UserError, match="bad"):
        StandIn(tmp_path / "bad")


def begun(address, **content):
    """Returns the connection of a prediction that the server has begun to read."""
    place, body = urllib.parse.urlsplit(address), json.dumps(content).encode()
    connection = socket.create_connection((place.hostname, place.port), timeout=60)
    connection.sendall(
        f"POST {place.path}:predict HTTP/1.1\r\nHost: {place.netloc}\r\n"
        f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n".encode()
    )
    assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
    connection.sendall(body)
    return connection


@pytest.mark.slow
def test_the_command_finishes_what_runs_when_it_is_stopped(tmp_path):
    folder = tiny_serving.save(tmp_path / "slow", tiny_serving.Slow)
    words = ["--model_dir", str(folder), "--port", "0", "--rest_api_port", "0"]
    program = "import sys; from restore_tf.commands.serve import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", program, *words],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        lines = [process.stdout.readline() for _ in range(5)]
        assert "development" in lines[0]
        assert "ready" in lines[-1]
        address = next(line.split()[1] for line in lines if line.startswith("REST"))
        images = np.full((1, 1, 1, 3), 1500, np.float32)
        with begun(address, instances=images.tolist()) as connection:
            process.send_signal(signal.SIGTERM)
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            assert json.loads(answer.read())["predictions"] == images.tolist()
        assert process.wait(60) == 0
        with pytest.raises(requests.ConnectionError):
            requests.get(address, timeout=5)
    finally:
        process.kill()
        process.stdout.close()


def test_command_mistakes(capsys, tmp_path):
    from restore_tf.commands import serve

    for words, said in [
        ([], "--model_dir"),
        (["--model_dir", str(tmp_path / "missing")], "missing"),
        (["--model_dir", str(tmp_path), "--port", "70000"], "port"),
    ]:
        assert serve.main(["restore-tf serve", *words]) == 2
        error = capsys.readouterr().err.strip()
        assert len(error.splitlines()) == 1
        assert said in error


def test_json_answers_are_what_a_parser_reads(address):
    content = json.dumps({"instances": [[[[float("nan"), float("inf"), 1.0]]]]})
    found = requests.post(f"{address}:predict", data=content, timeout=20).json()
    nan, infinite, zero = found["predictions"][0][0][0]
    assert np.isnan(nan)
    assert (infinite, zero) == (-np.inf, 0)
