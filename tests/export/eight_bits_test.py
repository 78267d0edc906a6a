"""Files in 8 bits: GELU as one operation, and what is kept in floats where 8 bits are too few."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from scipy import ndimage
from skimage import data

from restore_tf.export import prepared
from restore_tf.export.tflite import convert, ranges
from restore_tf.export.tflite.contents import contents
from restore_tf.inference.tflite_model import LiteModel
from restore_tf.networks.restorer import Restorer
from srn_tf.gate import MOST, Gate

SIZE = (16, 24)


class Gated(Restorer):
    """A convolution, GELU as MAXIM writes it, a convolution, plus the image."""

    def __init__(self):
        super().__init__()
        self.first, self.last = layers.Conv2D(4, 3, padding="same"), layers.Conv2D(3, 1)

    def call(self, images, training=False):
        x = self.first(images)
        x = x * ops.sigmoid(x * (0.07135481282 * ops.square(x) + 1.5957691216))
        return [images + self.last(x)]


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.fixture(scope="module")
def gated(tmp_path_factory):
    keras.utils.set_random_seed(0)
    model, folder = Gated(), tmp_path_factory.mktemp("gated")
    model(np.zeros((1, *SIZE, 3), np.float32))
    for variable in model.trainable_variables:
        variable.assign(np.random.default_rng(1).normal(size=variable.shape) * 0.3)
    crops = noise(4, *SIZE, 3)
    reference = np.asarray(model(crops / np.float32(255))[-1])
    np.savez(folder / "crops.npz", degraded=crops, reference=reference)
    for name, eight_bit in (("saved_model", False), ("saved_model_eight_bit", True)):
        prepared.write_saved_model(model, SIZE, folder / name, eight_bit)
    for kind in ("float32", "int8", "mixed_int8"):
        convert.convert(str(folder), kind, str(folder / f"{kind}.tflite"))
    return folder, crops / np.float32(255), np.clip(reference, 0, 1)


def error(file, images, expected):
    found = np.clip(LiteModel(file).restore_padded(images), 0, 1)
    return float(np.sqrt(np.mean((found - expected) ** 2)))


def test_gelu_is_one_operation_in_8_bits(gated):
    folder, images, expected = gated
    before, after = (contents(folder / f"{kind}.tflite") for kind in ("float32", "int8"))
    assert before.operations["SQUARE"] == before.operations["LOGISTIC"] == 1
    assert after.operations["GELU"] == 1
    assert not {"SQUARE", "LOGISTIC"} & set(after.operations)
    assert after.floats == ()
    assert error(folder / "int8.tflite", images, expected) < 0.01


def test_what_8_bits_hold_badly_stays_in_floats(gated):
    folder, images, expected = gated
    content = (folder / "float32.tflite").read_bytes()
    held = {floor: ranged_tensors(ranges.add(content, images, floor)[0]) for floor in (0, 35, 999)}
    assert held[999] == 1  # the input alone
    assert held[0] >= held[35] > held[999]
    assert error(folder / "mixed_int8.tflite", images, expected) <= error(
        folder / "int8.tflite", images, expected
    )


def ranged_tensors(content):
    from ai_edge_litert import schema_py_generated as schema

    (graph,) = schema.ModelT.InitFromPackedBuf(content, 0).subgraphs
    return sum(
        tensor.quantization is not None and tensor.quantization.max is not None
        for tensor in graph.tensors
    )


def test_signal_to_noise_ratio_by_hand():
    """Uniform values over the range: a step's error is uniform too, 255 steps are 48.1 dB."""
    values = np.linspace(0, 1, 100_001).astype(np.float32)
    assert ranges.decibels(values, 0.0, 1.0) == pytest.approx(20 * np.log10(255), abs=0.1)
    assert ranges.decibels(values, 0.0, 4.0) == pytest.approx(20 * np.log10(255 / 4), abs=0.1)
    assert ranges.decibels(values, 0.0, 0.5) < 12  # half of them are clipped


class Shaded(Restorer):
    """The picture, darker the less SRN's gate would restore it."""

    def __init__(self):
        super().__init__()
        self.gate = Gate()

    def call(self, images, training=False):
        return [images * self.gate(images)]


def test_srns_gate_in_8_bits(tmp_path):
    """Its strength is that of trained ones or steeper."""
    model, photo = Shaded(), data.astronaut()[:256, :256]
    model(np.zeros((1, 256, 256, 3), np.float32))
    # How much less the neighbours differ at full than at half, and at half than at quarter size.
    kernel = np.zeros((12, 16))
    kernel[[0, 4], 0] = -1
    model.gate.dense1.set_weights([kernel, np.zeros(16)])
    model.gate.dense2.set_weights([np.full((16, 1), 1.5), np.array([-2.0])])
    crops = np.stack([ndimage.gaussian_filter(photo, (s, s, 0)) for s in (0, 0.6, 1, 1.5, 2.2, 3)])
    images = crops / np.float32(255)
    strengths = np.asarray(model.gate(images)).ravel()
    assert strengths[0] < 0.3 * MOST and strengths[-1] > 0.7 * MOST
    prepared.write_saved_model(model, (256, 256), tmp_path / "saved_model_eight_bit", True)
    np.savez(tmp_path / "crops.npz", degraded=crops, reference=np.asarray(model(images)[-1]))
    convert.convert(str(tmp_path), "int8", str(tmp_path / "int8.tflite"))
    assert contents(tmp_path / "int8.tflite").floats == ()
    restored = np.stack(
        [LiteModel(tmp_path / "int8.tflite").restore_padded(i[None])[0] for i in images]
    )
    found = restored.mean(axis=(1, 2, 3)) / images.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(found, strengths, atol=0.1)
    assert np.all(np.diff(found) > 0)
