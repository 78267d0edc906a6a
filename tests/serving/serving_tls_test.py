"""restore-tf client through a proxy that speaks TLS."""

import numpy as np
import pytest
import skimage.data
import tiny_serving
import trustme
from PIL import Image
from tls_proxy import tls_in_front

from restore_tf.commands import client as command
from restore_tf.errors import UserError
from restore_tf.serving.client import Client
from restore_tf.serving.stand_in.server import StandIn
from restore_tf.serving.transports import ServerError

PIXELS = skimage.data.chelsea()[:40, :60]
SCHEMES = ["grpcs", "https"]


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority, tmp_path_factory):
    path = tmp_path_factory.mktemp("trusted") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(scope="module")
def servers(authority, tmp_path_factory):
    folder = tiny_serving.save(tmp_path_factory.mktemp("models"))
    certificate = authority.issue_cert("localhost")
    with (
        StandIn(folder, "tiny") as server,
        tls_in_front(server.grpc_port, certificate) as grpcs,
        tls_in_front(server.rest_port, certificate) as https,
    ):
        yield {"grpcs": f"grpcs://localhost:{grpcs}", "https": f"https://localhost:{https}"}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_restores_over_tls(servers, ca_file, tmp_path, scheme):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    words = [tmp_path / "a.png", "--output", tmp_path / "b.png", "--ca_file", ca_file]
    flags = ["--server", servers[scheme], "--model_name", "tiny"]
    assert command.main(["restore-tf client", *flags, *map(str, words)]) == 0
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "b.png")), 255 - PIXELS)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_who_is_not_trusted_gets_no_picture(servers, scheme):
    with (
        Client(servers[scheme], "tiny", retries=0, timeout=10) as client,
        pytest.raises(ServerError, match="(?i)certificate|handshake") as caught,
    ):
        client.restore(PIXELS)
    assert "\n" not in str(caught.value)


def test_bad_files_of_certificates(servers, ca_file, tmp_path):
    (tmp_path / "empty.pem").write_text("no certificate")
    for server, path, message in [
        (servers["https"], tmp_path / "none.pem", "none.pem: cannot be read .No such file"),
        (servers["grpcs"], tmp_path / "empty.pem", "empty.pem: cannot be read"),
        ("http://localhost:1", ca_file, "http:// has no TLS; expected grpcs:// or https://"),
    ]:
        with pytest.raises(UserError, match=message):
            Client(server, "tiny", ca_file=path)
