"""SRCNN against the published behaviour: parity files, parameter counts, borders, tiles."""

from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.ndimage
import tensorflow as tf
from keras import ops

from baselines_tf.srcnn import RECIPES, SRCNN, VARIANTS, load_checkpoint
from restore_tf.errors import UserError
from restore_tf.inference.restore import restore

PARITY = Path(__file__).parents[1] / "parity"
# {name of the parity files: kernels, filters, zeros that the student project pads at every layer}
STUDENT = {
    "915": ((9, 1, 5), (8, 4), (2, 2, 2)),
    "9315": ((9, 3, 1, 5), (8, 4, 4), (2, 2, 2, 1)),
    "91115": ((9, 1, 1, 1, 5), (8, 4, 4, 4), (2, 1, 1, 1, 1)),
}


class ZeroPadded(SRCNN):
    """SRCNN with other borders: so many zeros at every layer, or those of "same" convolutions."""

    size_multiple = 16  # what it is built with; smaller pictures would shrink to nothing

    def check_size(self, images):
        pass

    def __init__(self, zeros, **kwargs):
        super().__init__(**kwargs)
        self._zeros = zeros

    def pad(self, x, layer):
        number = self.convolutions.index(layer)
        n = layer.kernel_size[0] // 2 if self._zeros == "same" else self._zeros[number]
        return ops.pad(x, ((0, 0), (n, n), (n, n), (0, 0)))


def built(kind=SRCNN, **arguments):
    model = kind(**arguments)
    model.build()
    return model


def student(name, kind=SRCNN, **more):
    kernels, filters, _ = STUDENT[name]
    model = built(kind, channels=3, kernels=kernels, filters=filters, **more)
    load_checkpoint(model, PARITY / f"srcnn_seed_{name}_small.pth")
    return model


@pytest.mark.parametrize(
    ("variant", "channels", "parameters"),
    [
        ("srcnn_915", 1, 8_129),
        ("srcnn_935", 1, 24_513),
        ("srcnn", 1, 57_281),
        ("srcnn_915", 3, 20_099),
        ("srcnn_935", 3, 36_483),
        ("srcnn", 3, 69_251),
        ("srcnn_seed915", 1, 20_353),
        ("srcnn_seed9315", 1, 87_169),
        ("srcnn_seed91115", 1, 21_761),
        ("srcnn_seed915", 3, 44_291),
        ("srcnn_seed9315", 3, 109_507),
        ("srcnn_seed91115", 3, 43_299),
    ],
)
def test_parameter_counts(variant, channels, parameters):
    model = built(**{**VARIANTS[variant], "channels": channels})
    assert model.count_params() == parameters
    assert model.colour == ("rgb" if channels == 3 else "luminance")


def test_every_variant_has_a_parameter_count():
    assert len(VARIANTS) == 6


@pytest.mark.parametrize(
    ("variant", "field"),
    [("srcnn_915", 13), ("srcnn_935", 15), ("srcnn", 17), ("srcnn_seed9315", 15)],
)
def test_receptive_fields(variant, field):
    assert 2 * built(**VARIANTS[variant]).tiler().margin + 1 == field


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("borders", ["replicate", "same", "seed"])
@pytest.mark.parametrize("name", STUDENT)
def test_outputs_equal_the_published_behaviour(name, borders, compiled):
    numbers = np.load(PARITY / "srcnn_seed_small_io.npz")
    if borders == "replicate":
        model, expected = student(name), numbers[f"output_replicate_{name}"]
    elif borders == "same":
        model = student(name, ZeroPadded, zeros="same")
        expected = numbers[f"output_same_{name}"]
    else:
        model = student(name, ZeroPadded, zeros=STUDENT[name][2])
        expected = numbers[f"output_{name}"]
    call = tf.function(model) if compiled else model
    (restored,) = call(tf.constant(numbers["input"]))
    np.testing.assert_allclose(restored, expected, rtol=0, atol=1e-5 * np.ptp(expected))


def test_a_file_of_another_network_changes_nothing():
    model = built(**VARIANTS["srcnn_seed915"])
    before = model.get_weights()
    for name, word in [("9315", "layers.9.weight"), ("915", "shape")]:
        with pytest.raises(UserError, match=f"SRCNN 9-1-5 .*{word}"):
            load_checkpoint(model, PARITY / f"srcnn_seed_{name}_small.pth")
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def matlab_arrays(kernels, filters):
    """Random weights in the shapes of the authors' files."""
    random, (n1, n2), taps = np.random.default_rng(5), filters, [side**2 for side in kernels]
    shapes = {"weights_conv1": (taps[0], n1), "weights_conv2": (n1, taps[1], n2)}
    shapes |= {"weights_conv3": (n2, taps[2])}
    shapes |= {"biases_conv1": (n1, 1), "biases_conv2": (n2, 1), "biases_conv3": (1, 1)}
    return {name: random.normal(0, 0.2, shape) for name, shape in shapes.items()}


def authors_demo(arrays, image):
    """What the authors' MATLAB does, in SciPy: kernels by columns, correlation, edges repeated."""

    def layer(number, planes, given):
        weights, sums = np.atleast_3d(arrays[f"weights_conv{number}"]), []
        weights = weights.transpose(2, 0, 1) if number == 1 else weights  # (in, taps, out)
        biases = arrays[f"biases_conv{number}"].ravel()
        for k in range(given):
            total = 0
            for j, plane in enumerate(planes):
                taps = weights[j, :, k]
                side = round(len(taps) ** 0.5)
                kernel = taps.reshape((side, side), order="F")
                total = total + scipy.ndimage.correlate(plane, kernel, mode="nearest")
            sums.append(total + biases[k])
        return sums

    filters = [arrays[f"biases_conv{number}"].size for number in (1, 2, 3)]
    first = [np.maximum(plane, 0) for plane in layer(1, [image], filters[0])]
    second = [np.maximum(plane, 0) for plane in layer(2, first, filters[1])]
    return layer(3, second, 1)[0]


@pytest.mark.parametrize("kernels", [(9, 1, 5), (5, 3, 3)])
def test_the_authors_matlab_files(kernels, tmp_path):
    arrays = matlab_arrays(kernels, (4, 3))
    scipy.io.savemat(tmp_path / "x3.mat", arrays)
    model = built(kernels=kernels, filters=(4, 3))
    load_checkpoint(model, tmp_path / "x3.mat")
    image = np.random.default_rng(6).random((13, 17))
    (restored,) = model(image[None, ..., None].astype(np.float32))
    expected = authors_demo(arrays, image)
    np.testing.assert_allclose(restored[0, ..., 0], expected, rtol=0, atol=1e-5 * np.ptp(expected))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights_conv4": np.ones((2, 2))}, "holds weights_conv4, which has no place there"),
        ({"biases_conv2": None}, "lacks biases_conv2"),
        ({"weights_conv1": np.ones((25, 4))}, "SRCNN 9-1-5 of 1 channels.*weights_conv1 has shape"),
        ({"weights_conv2": np.ones((4, 2, 3))}, "weights_conv2 has shape"),
        ({"weights_conv1": np.array(["a"])}, "weights_conv1 is no array of numbers"),
    ],
)
def test_another_matlab_file_changes_nothing(change, message, tmp_path):
    arrays = matlab_arrays((9, 1, 5), (4, 3)) | change
    arrays = {name: array for name, array in arrays.items() if array is not None}
    scipy.io.savemat(tmp_path / "x3.mat", arrays)
    model = built(kernels=(9, 1, 5), filters=(4, 3))
    before = model.get_weights()
    with pytest.raises(UserError, match=message):
        load_checkpoint(model, tmp_path / "x3.mat")
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"no MATLAB", "no MATLAB file|cannot be read"),
        (b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM", "version 7.3; save it in MATLAB"),
    ],
)
def test_what_is_no_matlab_file(content, message, tmp_path):
    path = tmp_path / "x3.mat"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        load_checkpoint(built(kernels=(9, 1, 5), filters=(4, 3)), path)


def test_tiles_are_exact():
    model = student("9315")
    picture = np.random.default_rng(0).random((70, 90, 3), np.float32)
    whole = restore(model, picture, whole=True)
    tiled = restore(model, picture, tile=40)
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-6 * np.ptp(whole))


def test_colours_stay_where_the_luminance_is_restored():
    model = built(kernels=(3, 1, 3), filters=(4, 4))
    picture = np.random.default_rng(0).random((9, 7, 3), np.float32)
    restored = restore(model, picture)
    luminance = np.array([0.299, 0.587, 0.114])  # BT.601
    before, after = picture - picture @ luminance[:, None], restored - restored @ luminance[:, None]
    np.testing.assert_allclose(after, before, atol=1e-5)
    assert np.abs(restored - picture).max() > 0.01


def test_a_global_skip_begins_as_the_identity():
    model = built(global_skip=True)
    images = np.random.default_rng(0).random((1, 8, 8, 1), np.float32)
    np.testing.assert_array_equal(model(images)[-1], images)


def test_dropout_drops_in_training_alone():
    model = built(channels=3, kernels=(9, 1, 5), filters=(8, 4), dropout=0.5)
    model.last.kernel.assign(np.ones(model.last.kernel.shape))
    images = np.random.default_rng(0).random((1, 16, 16, 3), np.float32)
    first, second = (model(images, training=True)[-1] for _ in range(2))
    assert np.abs(first - second).max() > 1e-3
    np.testing.assert_array_equal(model(images)[-1], model(images)[-1])
    twin = built(channels=3, kernels=(9, 1, 5), filters=(8, 4))
    for layer, other in zip(twin.convolutions, model.convolutions, strict=True):
        layer.set_weights(other.get_weights())
    np.testing.assert_array_equal(model(images)[-1], twin(images)[-1])


@pytest.mark.parametrize(
    "wrong",
    [
        {"kernels": (9, 5)},
        {"kernels": (9, 4, 5)},
        {"channels": 3, "colour": "luminance"},
        {"colour": "rgb"},
        {"colour": "lab"},
    ],
)
def test_wrong_arguments(wrong):
    with pytest.raises(ValueError, match="expected"):
        SRCNN(**wrong)


def test_recipes_of_the_student_project_take_its_variants():
    assert RECIPES["seed"]("srcnn_seed91115").network["kernels"] == (9, 1, 1, 1, 5)
