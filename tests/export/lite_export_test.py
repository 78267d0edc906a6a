"""Making TFLite files: what converters do wrong silently, and the gate that refuses it."""

import dataclasses
import hashlib
import importlib.util
import json
import shutil
import sys
from pathlib import Path
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from keras import ops
from keras.initializers import Constant

from mprnet_tf import recipes as mprnet
from mprnet_tf.convert import name_map
from restore_tf.errors import UserError
from restore_tf.experiments import experiment
from restore_tf.export import jobs, prepared, scores
from restore_tf.export.samples import Samples
from restore_tf.export.tflite import check as lite_check
from restore_tf.export.tflite import convert as lite_convert
from restore_tf.export.tflite import make
from restore_tf.export.tflite import ranges as lite_ranges
from restore_tf.export.tflite.contents import contents
from restore_tf.inference.tflite_model import KINDS, LiteModel
from restore_tf.networks import noise
from srn_tf import recipes as srn

TINY = {
    "srn": {"width": 4, "res_blocks": 1, "scales": 2},
    "mprnet": {
        "n_feat": 8,
        "scale_unetfeats": 4,
        "scale_orsnetfeats": 4,
        "num_cab": 1,
        "reduction": 1,
    },
}
SIZE = (32, 32)


def make_run(workdir, paper, change=None, **network):
    """A run directory of a tiny network with random weights; returns the network."""
    keras.utils.set_random_seed(0)
    recipe = {"srn": srn.gopro, "mprnet": mprnet.gopro}[paper]()
    recipe = dataclasses.replace(recipe, network={**recipe.network, **TINY[paper], **network})
    experiment.write(workdir, recipe, {})
    model = experiment.build(recipe)
    if change is not None:
        change(model)
    model.save_weights(workdir / "best.weights.h5")
    return model


def pictures(sharp=True):
    random = np.random.default_rng(0)
    found = tuple(random.integers(0, 256, (40, 48, 3), np.uint8) for _ in range(4))
    return Samples(found, found if sharp else None, "noise")


def draw_biases(model):
    """As training leaves them: where a bias is zero, converters leave it out."""
    random = np.random.default_rng(0)
    for variable in model.trainable_variables:
        if not np.any(variable):
            variable.assign(0.01 * random.normal(size=variable.shape))


class Prepared:
    """A tiny run made ready for conversion in this process, and its files as they are asked for."""

    def __init__(self, folder, paper, kinds=KINDS, size=SIZE, **network):
        self.folder, self.run, self.widened = folder, folder / "run", None
        self.model = make_run(folder / "run", paper, **network)
        pictures().save(folder / "samples.npz")
        self.described = prepared.prepare(
            str(folder / "run"),
            {},
            size,
            [lite_convert.is_eight_bit(kind) for kind in kinds],
            SIZE,
            4,
            str(folder / "samples.npz"),
            str(folder),
        )

    def file(self, kind):
        path = self.folder / f"{kind}.tflite"
        if not path.exists():
            # from_concrete_functions gives files that output NaN.
            with mock.patch.object(tf.lite.TFLiteConverter, "from_concrete_functions", None):
                self.widened = lite_convert.convert(str(self.folder), kind, str(path))
        return path


@pytest.fixture(scope="module")
def tiny_srn(tmp_path_factory):
    return Prepared(tmp_path_factory.mktemp("srn"), "srn", change=draw_biases)


@pytest.fixture(scope="module")
def tiny_mprnet(tmp_path_factory):
    return Prepared(tmp_path_factory.mktemp("mprnet"), "mprnet", ["float32", "uint8", "int16x8"])


@pytest.fixture
def here(tiny_srn, monkeypatch):
    """Runs in this process what `lite` runs in others; what the tiny SRN gave is taken again."""

    def prepare(folder, **arguments):
        shutil.copy(tiny_srn.folder / "crops.npz", folder)
        return tiny_srn.described

    def convert(folder, kind, output, any_size=False):
        shutil.copy(tiny_srn.file(kind), output)
        return tiny_srn.widened

    functions = {"prepare": prepare, "convert": convert, "check": lite_check.check}

    def run(module, function, scratch, **arguments):
        json.dumps(arguments)  # as it goes to the process
        return json.loads(json.dumps(functions[function](**arguments)))

    monkeypatch.setattr(jobs, "run_in_process", run)
    return functions


def export(run, directory, kinds=("float32",), sizes=(SIZE,), samples=None, **arguments):
    return make.export(
        run, {}, directory, sizes=sizes, kinds=kinds, samples=samples or pictures(), **arguments
    )


def equals_keras(made):
    batch = np.random.default_rng(1).random((2, *SIZE, 3), np.float32)
    found = LiteModel(made.file("float32")).restore_padded(batch)
    expected = np.asarray(made.model(batch)[-1])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    parts = contents(made.file("float32"))
    assert (parts.custom, parts.dynamic) == ((), ())
    return parts


def test_float32_gives_keras_numbers(tiny_srn):
    equals_keras(tiny_srn)
    assert tiny_srn.described == {
        "channels": 3, "colour": "rgb", "output_scale": 1, "size_multiple": 8, "padding": "edge",
        "tile_step": None,
    }  # fmt: skip


@pytest.mark.slow
def test_mprnets_prelu_is_one_operation_that_8_bits_have(tiny_mprnet):
    operations = equals_keras(tiny_mprnet).operations
    applied = sum("CA.conv_du.0.weight" in name for name in name_map(tiny_mprnet.model))
    assert operations["LEAKY_RELU"] == applied
    assert not {"PRELU", "NEG", "ABS", "MAXIMUM", "SELECT_V2"} & set(operations)


@pytest.mark.slow
def test_an_early_exit_of_mprnet_with_local_attention(tmp_path):
    equals_keras(Prepared(tmp_path, "mprnet", ["float32"], stages=1, local_attention=32))


def test_the_gray_network(tmp_path):
    made = Prepared(tmp_path, "srn", ["float32"], channels=1, scales=1, res_blocks=0)
    with np.load(tmp_path / "crops.npz") as crops:
        assert crops["degraded"].shape == crops["sharp"].shape == (4, *SIZE, 1)
        pixels = crops["degraded"].astype(np.float32) / 255
        found = LiteModel(made.file("float32")).restore_padded(pixels)
        np.testing.assert_allclose(found, crops["reference"], atol=1e-5)


def test_a_file_for_any_size_works_shapes_out(tmp_path):
    parts = contents(Prepared(tmp_path, "srn", ["float32"], None, res_blocks=0).file("float32"))
    assert parts.custom == ()
    assert {"SHAPE", "tensors of unknown size"} <= set(parts.dynamic)


def test_weights_become_smaller(tiny_srn):
    """With a fake quantisation in the SavedModel they silently stay float32."""
    bytes_of = {k: tiny_srn.file(k).stat().st_size for k in ("float32", "float16", "dynamic_int8")}
    assert bytes_of["float16"] < 0.7 * bytes_of["float32"]
    assert bytes_of["dynamic_int8"] < 0.5 * bytes_of["float32"]


@pytest.mark.parametrize("kind", [pytest.param("int8", marks=pytest.mark.slow), "uint8"])
def test_eight_bits_throughout(tiny_srn, kind):
    parts = contents(tiny_srn.file(kind))
    assert (parts.floats, parts.dynamic, parts.custom) == ((), (), ())
    model = LiteModel(tiny_srn.file(kind))
    with np.load(tiny_srn.folder / "crops.npz") as crops:
        found = model.restore_padded(crops["degraded"].astype(np.float32) / 255)
        error = np.mean((found - np.clip(crops["reference"], 0, 1)) ** 2)
    assert -10 * np.log10(error) > 30
    if kind == "uint8":
        assert model.scales == ((np.float32(1 / 255), 0), (np.float32(1 / 255), 0))


def test_nothing_gives_what_nothing_uses(tiny_srn):
    """Such operations stay in floats now and then: the split at the coarsest scale."""
    operators = {}
    for kind in ("float32", "uint8"):
        model = schema.ModelT.InitFromPackedBuf(tiny_srn.file(kind).read_bytes(), 0)
        (graph,) = model.subgraphs
        used = {place for operator in graph.operators for place in operator.inputs}
        used |= set(graph.outputs)
        operators[kind] = [o for o in graph.operators if not used.issuperset(o.outputs)]
    assert len(operators["float32"]) == 1 and not operators["uint8"]


def test_calibration_reaches_from_0_to_1():
    image = np.array([[0.25, 0.5], [0.75, 0.5]], np.float32)
    np.testing.assert_array_equal(lite_convert.stretched(image), [[0, 0.5], [1, 0.5]])
    flat = lite_convert.stretched(np.full((2, 2), 0.5, np.float32))
    assert (flat.min(), flat.max()) == (0, 1)


def kill_a_convolution(model):
    """Its ReLU never opens."""
    model.e_block1.res_blocks[0].conv1.bias.assign(np.full(8, -100.0))


@pytest.mark.slow
def test_a_dead_convolution_does_not_crash_xnnpack(tmp_path):
    made = Prepared(tmp_path, "srn", ["uint8"], scales=1, change=kill_a_convolution)
    path = made.file("uint8")
    assert made.widened == {"widened_ranges": 2}  # what is made of its zeros is zero as well
    # In a process of its own: it would end this one.
    found = jobs.run_in_process(
        "tflite.check", "check", tmp_path,
        file=str(path), folder=str(tmp_path), restored=str(tmp_path / "restored.npy"),
    )  # fmt: skip
    assert found["finite"]


def times(factor):
    """A convolution that multiplies by a number."""
    kernel = Constant(factor * np.eye(3).reshape(1, 1, 3, 3))
    return keras.layers.Conv2D(3, 1, kernel_initializer=kernel)


def float_file(*layers, side=8):
    """A TFLite file of Keras layers, for pictures of side x side."""
    images = keras.Input((side, side, 3), 1)
    outputs = images
    for layer in layers:
        outputs = layer(outputs)
    return tf.lite.TFLiteConverter.from_keras_model(keras.Model(images, outputs)).convert()


def ranges_of(content, operation):
    """(low, high) of what the operations of a name give, in order."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    (graph,) = model.subgraphs
    code = getattr(schema.BuiltinOperator, operation)
    found = [
        graph.tensors[operator.outputs[0]].quantization
        for operator in graph.operators
        if model.operatorCodes[operator.opcodeIndex].builtinCode == code
    ]
    return [(float(quantised.min[0]), float(quantised.max[0])) for quantised in found]


def test_ranges_in_proportion_stay():
    picture = np.random.default_rng(0).random((8, 8, 3), np.float32)
    for bias, expected in ((1.0, 0), (-100.0, 1)):
        dead = keras.layers.Conv2D(2, 3, activation="relu", bias_initializer=Constant(bias))
        _, widened = lite_ranges.add(float_file(dead, keras.layers.Conv2D(3, 1)), [picture])
        assert widened == expected


def test_a_value_keeps_its_range_when_a_sum_takes_its_memory():
    """TFLite's own calibration gives one of the two convolutions the sum's range."""
    picture = np.random.default_rng(0).random((8, 8, 3), np.float32)
    images = keras.Input((8, 8, 3), 1)
    outputs = times(1)(times(1)(images) + times(2)(images))
    file = tf.lite.TFLiteConverter.from_keras_model(keras.Model(images, outputs)).convert()
    ranges = ranges_of(lite_ranges.add(file, [picture])[0], "CONV_2D")
    most = np.quantile(picture, 1 - 1e-4)
    assert ranges[:2] == [(0, pytest.approx(most)), (0, pytest.approx(2 * most))]


def test_what_memory_does_not_hold_is_measured_in_lots():
    picture = np.random.default_rng(0).random((8, 8, 3), np.float32)
    file = float_file(times(1), times(2), keras.layers.MaxPooling2D(), times(3))
    assert lite_ranges.add(file, [picture], memory=0) == lite_ranges.add(file, [picture])


def test_the_outermost_values_are_cut_off():
    """Of 19,200 values one is 50; the range is that of the others."""
    picture = np.full((80, 80, 3), 0.5, np.float32)
    picture[0, 0, 0] = 50.0
    ranges = ranges_of(
        lite_ranges.add(float_file(times(1), times(2), side=80), [picture])[0], "CONV_2D"
    )
    assert ranges[0] == (0.0, 0.5)


def test_transposed_convolutions_do_their_relus(tiny_srn):
    """Their ranges begin at 0, and the one ReLU left is the input's."""
    model = schema.ModelT.InitFromPackedBuf(tiny_srn.file("uint8").read_bytes(), 0)
    (graph,) = model.subgraphs
    code = [model.operatorCodes[operator.opcodeIndex].builtinCode for operator in graph.operators]
    names = schema.BuiltinOperator
    assert code.count(names.RELU) == 1
    outputs = [
        graph.tensors[operator.outputs[0]].quantization
        for operator, found in zip(graph.operators, code, strict=True)
        if found == names.TRANSPOSE_CONV
    ]
    assert len(outputs) == 2 * 2  # D blocks times scales
    assert [int(output.zeroPoint[0]) for output in outputs] == [-128] * 4


def convert_without_weights(model):
    """What `from_concrete_functions` does to a Keras model: the file "works" and outputs NaN."""
    spec = tf.TensorSpec((1, *SIZE, 3), tf.float32, "images")
    function = tf.function(lambda images: model(images)[-1], input_signature=[spec])

    def convert(folder, kind, output, any_size=False):
        functions = [function.get_concrete_function()]
        converter = tf.lite.TFLiteConverter.from_concrete_functions(functions, model)
        Path(output).write_bytes(converter.convert())
        return {}

    return convert


def convert_with_flex(folder, kind, output, any_size=False):
    """A file that needs one of TensorFlow's own kernels."""
    spec = tf.TensorSpec((1, *SIZE, 3), tf.float32, "images")
    function = tf.function(lambda x: 2.0 * tf.math.atan(x), input_signature=[spec])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS,
    ]  # fmt: skip
    Path(output).write_bytes(converter.convert())
    return {}


def without_sharp(functions):
    """Makes the crops ones whose sharp partners are not known."""
    prepare = functions["prepare"]

    def changed(folder, **arguments):
        found = prepare(folder=folder, **arguments)
        degraded, reference, _ = prepared.read_crops(folder)
        np.savez(Path(folder) / "crops.npz", degraded=degraded, reference=reference)
        return found

    functions["prepare"] = changed


def refused(rows, directory):
    (row,) = rows
    assert not row["written"]
    assert list(directory.iterdir()) == []
    return row["reason"]


def test_a_file_that_outputs_nan_is_refused(tiny_srn, tmp_path, here, caplog):
    here["convert"] = convert_without_weights(tiny_srn.model)
    rows = export(tiny_srn.run, tmp_path / "out", max_psnr_drop=1e9)
    assert refused(rows, tmp_path / "out") == "it outputs what is not a number"
    assert caplog.messages == [
        "srn_32x32_float32.tflite: not written, it outputs what is not a number."
    ]


def test_tensorflows_operations_are_seen(tiny_srn, tmp_path, here):
    convert_with_flex(None, None, tmp_path / "flex.tflite")
    assert contents(tmp_path / "flex.tflite").flex == ("FlexAtan",)
    here["convert"] = convert_with_flex
    rows = export(tiny_srn.run, tmp_path / "out")
    # LiteRT does not even load it.
    assert "FlexAtan" in refused(rows, tmp_path / "out")


def test_what_is_worse_than_allowed_is_refused(tiny_srn, tmp_path, here):
    kinds, out = ("dynamic_int8",), tmp_path / "out"
    without_sharp(here)
    rows = export(tiny_srn.run, out, kinds, max_psnr_drop=0)
    assert "more than --max_psnr_drop 0" in refused(rows, out)
    assert "estimated for a restoration of 30 dB" in rows[0]["reason"]
    (row,) = export(tiny_srn.run, out, kinds, max_psnr_drop=100)
    assert row["written"]
    path = out / "srn_32x32_dynamic_int8.tflite"
    assert sorted(p.name for p in out.iterdir()) == [path.with_suffix(".json").name, path.name]
    assert row["bytes"] == path.stat().st_size
    assert row["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert row["operations"]["CONV_2D"] > 5
    model = LiteModel(path)
    assert (model.size, model.kind, model.size_multiple, model.padding) == (
        SIZE, "dynamic_int8", 8, "edge",
    )  # fmt: skip
    assert model.metadata["input"]["range"] == [0.0, 1.0]
    assert model.metadata["outputs"][0]["name"] == "restored"
    assert model.metadata["provenance"]["samples"] == "noise"


def test_float32_that_differs_is_refused(tiny_srn, tmp_path, here):
    def prepare(folder, **arguments):
        shutil.copy(tiny_srn.folder / "crops.npz", folder)
        degraded, reference, sharp = prepared.read_crops(folder)
        np.savez(Path(folder) / "crops.npz", degraded=degraded, reference=reference + 0.01)
        return tiny_srn.described

    here["prepare"] = prepare
    rows = export(tiny_srn.run, tmp_path / "out", max_psnr_drop=1e9)
    assert refused(rows, tmp_path / "out") == "it differs from the Keras model by up to 0.01"


def test_what_does_not_convert_is_a_row(tiny_srn, tmp_path, here):
    def convert(folder, kind, output, any_size=False):
        raise jobs.Failed("convert: RuntimeError: not yet supported for op: 'PRELU'.")

    here["convert"] = convert
    rows = export(tiny_srn.run, tmp_path / "out", ("int16x8",))
    assert "not yet supported for op: 'PRELU'" in refused(rows, tmp_path / "out")


@pytest.mark.parametrize("any_size", [False, True])
def test_noise_for_any_size_is_one_line_that_names_the_way_out(tmp_path, any_size):
    """What samplers draw by: TFLite lacks its operations on bits."""
    spec = tf.TensorSpec((1, None, None, 3), tf.float32, "images")
    seed = tf.zeros((2,), tf.int32)
    add = tf.function(lambda images: {"restored": images + noise.normal(ops.shape(images), seed)})
    module = tf.Module()
    module.add = add
    signatures = {"serving_default": add.get_concrete_function(spec)}
    tf.saved_model.save(module, str(tmp_path / "saved_model"), signatures)
    with pytest.raises(UserError, match="^TFLite lacks .*Bitwise") as raised:
        lite_convert.convert(str(tmp_path), "float32", str(tmp_path / "file"), any_size)
    advised = str(raised.value).endswith("; files of a fixed --size HEIGHTxWIDTH may do without.")
    assert advised == any_size
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 200
    assert not (tmp_path / "file").exists()


def test_scores_by_hand():
    black = np.zeros((2, 8, 8, 3), np.float32)
    found = scores.score(black, black + 0.1, None)
    assert found["psnr_to_float"] == pytest.approx(20)  # -10 log10(0.01)
    assert found["psnr_loss"] == pytest.approx(10.4139, abs=1e-3)  # 10 log10(1 + 0.01 / 0.001)
    assert found["psnr"] is None
    assert scores.score(black, black - 5.0, None)["psnr_loss"] == 0  # both are black when clipped
    sharp = np.full(black.shape, 51, np.uint8)  # 0.2
    found = scores.score(black + 0.1, black, sharp)
    # 0.1 is level 26 rounded: 20 log10(255 / 25) = 20.172; 20 log10(255 / 51) = 13.979.
    assert found["psnr_float"] == pytest.approx(20.172, abs=1e-3)
    assert found["psnr"] == pytest.approx(13.979, abs=1e-3)
    assert found["psnr_loss"] == pytest.approx(6.193, abs=1e-3)
    assert json.dumps(scores.score(black, black, np.zeros(black.shape, np.uint8)))


def test_bad_requests_are_one_line(tiny_srn, tmp_path, here):
    here["prepare"] = prepared.prepare
    with pytest.raises(UserError, match="--size 30x32: srn takes multiples of 8 pixels"):
        export(tiny_srn.run, tmp_path / "out", sizes=[(30, 32)])
    with pytest.raises(UserError, match="--kinds int4: expected some of float32"):
        export(tiny_srn.run, tmp_path / "out", kinds=["int4"])
    with pytest.raises(UserError, match="not a run directory"):
        export(tmp_path / "none", tmp_path / "out")


def test_a_network_that_cannot_be_prepared(tiny_srn, tmp_path, here):
    def prepare(**arguments):
        raise jobs.Failed("prepare: its process crashed: SIGKILL")

    here["prepare"] = prepare
    with pytest.raises(UserError, match="cannot be made ready for TFLite .prepare: .* SIGKILL"):
        export(tiny_srn.run, tmp_path / "out")


def test_a_missing_package_is_named(tiny_srn, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: name != "ai_edge_litert" and find(name) or None
    )
    with pytest.raises(UserError, match=r"pip install 'restore_tf\[edge\]'"):
        export(tiny_srn.run, tmp_path / "out")


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'double free' >&2; kill -ABRT $$", r"its process crashed: SIGABRT .double free"),
        ("echo oh >&2; exit 3", r"its process ended with code 3 .oh"),
    ],
)
def test_a_crash_is_reported(script, message, tmp_path, monkeypatch):
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(jobs.Failed, match=message):
        jobs.run_in_process("tflite.check", "check", tmp_path)


def test_a_crash_is_a_row(tiny_srn, tmp_path, here, caplog):
    def check(**arguments):
        raise jobs.Failed("check: its process crashed: SIGABRT")

    here["check"] = check
    rows = export(tiny_srn.run, tmp_path / "out")
    assert refused(rows, tmp_path / "out") == "check: its process crashed: SIGABRT"
    assert "not written, check: its process crashed: SIGABRT." in caplog.text


@pytest.mark.slow
def test_in_processes_of_their_own(tmp_path, caplog):
    """Everything as the command does it, with a file for any size and pictures that are small."""
    make_run(tmp_path / "run", "srn", scales=1)
    rows = export(
        tmp_path / "run", tmp_path / "out", ("float32", "uint8"), [(64, 32), None],
        max_psnr_drop=1e9,
    )  # fmt: skip
    assert [row["reason"] for row in rows] == [None] * 3
    assert [row["file"] for row in rows] == [
        "srn_64x32_float32.tflite", "srn_64x32_uint8.tflite", "srn_any_size_float32.tflite",
    ]  # fmt: skip
    assert "4 of 4 pictures of noise are smaller than 64x32 pixels" in caplog.text
    assert all(row["psnr_to_float"] > 100 for row in rows if row["kind"] == "float32")
    assert all(30 < row["peak_mb"] < 1000 and row["ms"] > 0 for row in rows)
    for row in rows:
        assert LiteModel(tmp_path / "out" / row["file"]).kind == row["kind"]


def test_sixteen_bits_hold_more_than_eight(tiny_srn):
    """SRN's scales share their biases; each needs its own, in steps of its own input."""
    _, reference, sharp = prepared.read_crops(tiny_srn.folder)
    decibels = {}
    for kind in ("uint8", "int16x8"):
        file, restored = tiny_srn.file(kind), tiny_srn.folder / f"{kind}.npy"
        lite_check.check(str(file), str(tiny_srn.folder), str(restored))
        scored = scores.score(reference, np.load(restored), sharp)
        decibels[kind] = scored["psnr_to_float"]
    assert decibels["int16x8"] > decibels["uint8"] + 6, decibels


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["uint8", "int16x8"])
def test_mprnet_in_eight_bits_and_in_sixteen(tiny_mprnet, kind):
    """Its PReLU, as a leaky ReLU: TFLite has none in 16 bits."""
    path, restored = tiny_mprnet.file(kind), tiny_mprnet.folder / f"{kind}.npy"
    found = jobs.run_in_process(
        "tflite.check", "check", tiny_mprnet.folder,
        file=str(path), folder=str(tiny_mprnet.folder), restored=str(restored),
    )  # fmt: skip
    assert (found["dynamic"], found["custom"]) == ([], [])
    assert kind != "uint8" or found["floats"] == []
    _, reference, sharp = prepared.read_crops(tiny_mprnet.folder)
    assert scores.score(reference, np.load(restored), sharp)["psnr_to_float"] > 25
