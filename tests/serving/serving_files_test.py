"""Warm-up requests and deployment files: read by TF Serving's own definitions, and run."""

import os
import shutil
import subprocess

import numpy as np
import pytest
import skimage.data
import tensorflow as tf
import tiny_serving
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from PIL import Image
from tensorflow_serving.apis import prediction_log_pb2
from tensorflow_serving.config import model_server_config_pb2

from restore_tf.errors import UserError
from restore_tf.serving import deployment, warm_up
from restore_tf.serving.stand_in.server import StandIn

CAT = skimage.data.chelsea()


def records(version_dir):
    path = str(version_dir / "assets.extra" / "tf_serving_warmup_requests")
    for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        assert log.WhichOneof("log_type") == "predict_log"
        yield log.predict_log.request


def test_warm_up_requests_run_on_the_model(tmp_path):
    version = tiny_serving.save(tmp_path) / "1"
    sizes = [(12, 17), (400, 500)]  # the second is larger than the photo
    assert warm_up.write_requests(version, "tiny", sizes) == 6
    found = list(records(version))
    assert len(found) == 6
    loaded = tf.saved_model.load(str(version))  # a folder more does not disturb it
    kinds = set()
    for index, request in enumerate(found):
        size = sizes[index // 3]
        assert request.model_spec.name == "tiny"
        signature = request.model_spec.signature_name
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        tensors = {name: tf.constant(value) for name, value in inputs.items()}
        outputs = loaded.signatures[signature](**tensors)
        if signature == "serving_default":
            assert outputs["restored"].shape == (1, *size, 3)
            images = inputs["images"]
            assert images.dtype == np.float32
            if size == (12, 17):
                np.testing.assert_allclose(images[0], CAT[144:156, 217:234] / 255, rtol=1e-6)
            else:
                np.testing.assert_allclose(images[0, :300, :451], CAT / 255, rtol=1e-6)
        else:
            kinds.add(inputs["image_bytes"][0][:4])
            (file,) = outputs["restored_bytes"].numpy()
            assert tiny_serving.pixels(file).shape == (*size, 3)
    assert kinds == {b"\xff\xd8\xff\xe0", b"\x89PNG"}


def test_warm_up_of_a_gray_network(tmp_path):
    warm_up.write_requests(tmp_path, "gray", [(5, 6)], channels=1)
    request = next(records(tmp_path))
    assert tf.make_ndarray(request.inputs["images"]).shape == (1, 5, 6, 1)


def test_warm_up_leaves_out_what_the_graph_refuses(tmp_path, caplog):
    assert warm_up.write_requests(tmp_path, sizes=[(10, 10), (10, 11)], max_pixels=100) == 3
    assert len(list(records(tmp_path))) == 3
    assert "100 pixels" in caplog.text


def test_warm_up_without_the_package(tmp_path, monkeypatch, caplog):
    import sys

    for name in list(sys.modules):
        if name.startswith("tensorflow_serving"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorflow_serving", None)
    assert warm_up.write_requests(tmp_path) == 0
    assert "restore_tf[serve]" in caplog.text
    assert not (tmp_path / "assets.extra").exists()


@pytest.fixture
def files(tmp_path):
    written = deployment.write(tmp_path, "My_model", concurrent=2, queued=7, memory_gib=3)
    assert sorted(p.name for p in written) == sorted(deployment.FILES)
    assert all(p.parent == tmp_path / "serving" for p in written)
    assert sorted(p.name for p in (tmp_path / "serving").iterdir()) == sorted(deployment.FILES)
    return {p.name: p.read_text(encoding="utf-8") for p in written}


def test_no_placeholder_is_left(files):
    for text in files.values():
        assert "@MODEL" not in text
        assert "@LABEL" not in text
        assert "@I" not in text


def test_models_config_by_the_servers_own_definition(files):
    config = text_format.Parse(files["models.config"], model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path) == ("My_model", "/models/My_model")
    assert model.model_platform == "tensorflow"
    assert model.model_version_policy.latest.num_versions == 1


def batching_parameters():
    """BatchingParameters of TF Serving's session_bundle_config.proto, which the API leaves out."""
    file = descriptor_pb2.FileDescriptorProto(
        name="batching.proto", package="serving", syntax="proto3"
    )
    file.dependency.append("google/protobuf/wrappers.proto")
    message = file.message_type.add(name="BatchingParameters")
    kinds = descriptor_pb2.FieldDescriptorProto
    wrapped = {
        1: ("max_batch_size", "Int64Value"),
        2: ("batch_timeout_micros", "Int64Value"),
        3: ("max_enqueued_batches", "Int64Value"),
        4: ("num_batch_threads", "Int64Value"),
        5: ("thread_pool_name", "StringValue"),
        8: ("enable_large_batch_splitting", "BoolValue"),
        9: ("max_execution_batch_size", "Int64Value"),
    }
    for number, (name, kind) in wrapped.items():
        message.field.add(
            name=name,
            number=number,
            label=kinds.LABEL_OPTIONAL,
            type=kinds.TYPE_MESSAGE,
            type_name=f".google.protobuf.{kind}",
        )
    message.field.add(
        name="pad_variable_length_inputs",
        number=7,
        label=kinds.LABEL_OPTIONAL,
        type=kinds.TYPE_BOOL,
    )
    pool = descriptor_pool.DescriptorPool()
    wrappers = descriptor_pool.Default().FindFileByName("google/protobuf/wrappers.proto")
    pool.AddSerializedFile(wrappers.serialized_pb)
    pool.Add(file)
    found = pool.FindMessageTypeByName("serving.BatchingParameters")
    return message_factory.GetMessageClass(found)()


def test_batching_config_keeps_requests_apart(files):
    from google.protobuf import wrappers_pb2  # noqa: F401  the pool must know it

    config = text_format.Parse(files["batching.config"], batching_parameters())
    assert config.max_execution_batch_size.value == 1
    assert config.enable_large_batch_splitting.value
    assert config.max_batch_size.value >= config.max_execution_batch_size.value
    assert config.num_batch_threads.value == 2
    assert config.max_enqueued_batches.value == 7
    assert not config.pad_variable_length_inputs


def flags(words):
    return dict(word.removeprefix("--").split("=") for word in words)


def test_docker_compose(files):
    (service,) = yaml.safe_load(files["docker-compose.yml"])["services"].values()
    assert (
        service["image"]
        == f"tensorflow/serving:${{TF_SERVING_VERSION:-{deployment.IMAGE_VERSION}}}"
    )
    assert "../saved_model:/models/My_model:ro" in service["volumes"]
    assert service["mem_limit"] == "3g"
    given = flags(service["command"])
    assert (given["port"], given["rest_api_port"]) == ("8500", "8501")
    assert given["model_config_file"] == "/models/serving/models.config"
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_kubernetes(files):
    config, deployed, service = yaml.safe_load_all(files["kubernetes.yaml"])
    assert [d["kind"] for d in (config, deployed, service)] == [
        "ConfigMap",
        "Deployment",
        "Service",
    ]
    assert config["data"]["models.config"].strip() == files["models.config"].strip()
    assert config["data"]["batching.config"].strip() == files["batching.config"].strip()
    pod = deployed["spec"]["template"]
    labels = pod["metadata"]["labels"]
    assert labels == {"app": "my-model"}
    assert deployed["spec"]["selector"]["matchLabels"] == service["spec"]["selector"] == labels
    (container,) = pod["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"grpc": 8500, "rest": 8501}
    assert {p["targetPort"] for p in service["spec"]["ports"]} == set(ports)
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        request = container[probe]["httpGet"]
        assert request["path"].startswith("/v1/models/My_model")
        assert request["port"] == "rest"
    mounts = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
    assert mounts == {"models": "/models/My_model", "config": "/config"}
    assert {v["name"] for v in pod["spec"]["volumes"]} == set(mounts)
    given = flags(container["args"])
    assert given["batching_parameters_file"] == "/config/batching.config"
    assert container["resources"]["limits"]["memory"] == "3Gi"


@pytest.mark.parametrize("name", ["", "a b", "a/b", "$(x)", "-a", "a" * 64])
def test_names_that_would_break_the_files(tmp_path, name):
    with pytest.raises(UserError, match="model name"):
        deployment.write(tmp_path, name)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tiny_serving.save(tmp_path_factory.mktemp("models"))
    with StandIn(folder, "My_model") as server:
        yield server


needs_bash = pytest.mark.skipif(
    not all(shutil.which(tool) for tool in ("bash", "curl", "base64")), reason="needs bash, curl"
)


def shell(tmp_path, *words, **variables):
    environment = {**os.environ, "NO_PROXY": "*", "PAUSE": "0", **variables}
    return subprocess.run(
        [str(tmp_path / "serving" / "client.sh"), *map(str, words)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        timeout=60,
    )


@needs_bash
def test_shell_client(files, tmp_path, server):
    assert subprocess.run(["bash", "-n", tmp_path / "serving" / "client.sh"]).returncode == 0
    address = f"http://127.0.0.1:{server.rest_port}"
    Image.fromarray(CAT).save(tmp_path / "a b.png")
    done = shell(tmp_path, "a b.png", "out.png", SERVER=address)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out.png")), 255 - CAT)
    Image.fromarray(CAT).save(tmp_path / "b.jpg")
    assert shell(tmp_path, "b.jpg", "b.png", SERVER=address).returncode == 0
    assert Image.open(tmp_path / "b.png").size == CAT.shape[1::-1]
    again = shell(tmp_path, "a b.png", "out.png", SERVER=address)
    assert (again.returncode, again.stderr) == (1, "error: out.png: exists\n")


@needs_bash
def test_shell_client_says_what_is_wrong(files, tmp_path, server):
    address = f"http://127.0.0.1:{server.rest_port}"
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    for words, variables, said in [
        (["bad.jpg"], {}, "two files"),
        (["missing.jpg", "out.png"], {}, "missing.jpg: no such file"),
        (["bad.jpg", "out.png"], {"SERVER": address}, f"{address}: 400:"),
        (["bad.jpg", "out.png"], {"SERVER": address, "MODEL_NAME": "other"}, "404: Servable"),
        (["bad.jpg", "out.png"], {"SERVER": "http://127.0.0.1:1", "RETRIES": "2"}, "curl: (7)"),
    ]:
        done = shell(tmp_path, *words, **variables)
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith("error: ")
        assert said in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.jpg", "serving"]


@needs_bash
def test_shell_client_comes_again(files, tmp_path):
    from misbehaving_servers import rest_server

    picture = tiny_serving.png(CAT[:5, :5])
    (tmp_path / "a.png").write_bytes(picture)
    with rest_server([503, 429, None]) as (address, service):
        words = {"SERVER": address, "TIMEOUT": "0.5"}
        done = shell(tmp_path, "a.png", "out.png", **words, RETRIES="3")
        assert (done.returncode, done.stderr) == (0, "")
        assert (tmp_path / "out.png").read_bytes() == picture  # this server changes nothing
        assert service.asked == 4
    with rest_server([503] * 9) as (address, service):
        done = shell(tmp_path, "a.png", "other.png", SERVER=address, RETRIES="1")
        assert done.returncode == 1
        assert "503: so it is" in done.stderr
        assert service.asked == 2


@needs_bash
def test_docker_health_check(files, server):
    (service,) = yaml.safe_load(files["docker-compose.yml"])["services"].values()
    command = service["healthcheck"]["test"]
    assert command[0] == "CMD"

    def check(text):
        words = [word.replace("$$", "$").replace("8501", str(text)) for word in command[1:]]
        return subprocess.run(words, capture_output=True, timeout=20).returncode

    assert check(server.rest_port) == 0
    assert check(1) != 0
    command[-1] = command[-1].replace("My_model", "other")
    assert check(server.rest_port) != 0
