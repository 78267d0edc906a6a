"""Writes a trained network as a SavedModel that TensorFlow Serving runs without this package.

The graph holds everything between a picture file and the network: decoding, padding, cropping and
encoding. Two signatures:

- `serving_default`: `images`, float32 (batch, height, width, channels) in [0, 1], of any size ->
  `restored`, the same shape; not clipped, as the network gives it. Images with other values, NaN
  among them, are an INVALID_ARGUMENT: otherwise a client that sends 0 to 255 would get nonsense.
- `serving_bytes`: `image_bytes`, (batch,) strings that are JPEG or PNG files, of different sizes ->
  `restored_bytes`, (batch,) strings that are 8-bit PNG files. TF Serving's REST API encodes tensors
  whose names end in `_bytes` as base64.

Pictures run whole, without tiles: `max_pixels` limits the memory of one request.
"""

from __future__ import annotations

import collections
import os
from pathlib import Path

import keras
import tensorflow as tf

from restore_tf.errors import UserError
from restore_tf.networks.restorer import Restorer
from restore_tf.pictures import planes

MAX_PIXELS = 8_300_000  # a frame of 3840x2160; SRN takes 7 GB for one
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"


def write(model: Restorer, directory: str | os.PathLike, max_pixels: int = MAX_PIXELS) -> None:
    """Writes a network as a SavedModel with both signatures.

    Args:
      model: a network with its weights.
      directory: the folder to make; TF Serving needs a number as its name.
      max_pixels: the graph refuses larger pictures, height times width.

    Raises:
      UserError: Keras does not run on TensorFlow here.
    """
    if keras.backend.backend() != "tensorflow":
        raise UserError(
            f"KERAS_BACKEND={keras.backend.backend()}: a SavedModel is TensorFlow's; unset it."
        )

    images = tf.TensorSpec((None, None, None, model.channels), tf.float32, name="images")
    files = tf.TensorSpec((None,), tf.string, name="image_bytes")

    # The graph holds the network once, for both signatures.
    @tf.function(input_signature=[images], autograph=False)
    def restore(images):
        return _restore(model, images)

    def serving_default(images):
        _check_size(tf.shape(images), max_pixels)
        _check_values(images)
        return {"restored": restore(images)}

    def serving_bytes(image_bytes):
        def restore_file(file):
            picture = _decode(file, max_pixels)
            return _encode(_restore_planes(restore, picture, model))

        return {
            # One picture at a time: they differ in size, and memory stays that of one.
            "restored_bytes": tf.map_fn(
                restore_file, image_bytes, fn_output_signature=tf.string, parallel_iterations=1
            )
        }

    archive = keras.export.ExportArchive()
    archive.track(model)
    with model.with_folded_weights():
        archive.add_endpoint("serving_default", serving_default, input_signature=[images])
        archive.add_endpoint("serving_bytes", serving_bytes, input_signature=[files])
        archive.write_out(os.fspath(directory), verbose=False)


def operations(directory: str | os.PathLike) -> dict[str, int]:
    """Counts the operations of a SavedModel's graph and its functions.

    Args:
      directory: the SavedModel.

    Returns:
      {name of an operation: how many}, by name.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    content = saved_model_pb2.SavedModel()
    content.ParseFromString((Path(directory) / "saved_model.pb").read_bytes())
    counts = collections.Counter()
    for meta_graph in content.meta_graphs:
        counts.update(node.op for node in meta_graph.graph_def.node)
        for function in meta_graph.graph_def.library.function:
            counts.update(node.op for node in function.node_def)
    return dict(sorted(counts.items()))


def _restore(model, images):
    """Pads, restores and crops (batch, height, width, channels) of any size."""
    height, width = (model.output_scale * tf.shape(images)[axis] for axis in (1, 2))
    for axis in (1, 2):
        images = tf.gather(images, positions_of(tf.shape(images)[axis], model), axis=axis)
    return model.restore_batch(images)[:, :height, :width]


def positions_of(size, model):
    """Returns the source of each row (or column) of the padded picture, as `restore.pad` pads.

    Args:
      size: rows (or columns) of the picture, a scalar tensor.
      model: has `size_multiple` and `padding`.

    Returns:
      (padded size,) int32 indices into the picture.
    """
    multiple = model.size_multiple
    positions = tf.range(-(-size // multiple) * multiple)
    if model.padding == "edge":
        return tf.minimum(positions, size - 1)
    # Reflection goes back and forth; a single row has only itself.
    period = tf.maximum(2 * (size - 1), 1)
    positions %= period
    return tf.minimum(positions, period - positions)


def _restore_planes(restore, picture, model):
    """Restores one RGB picture, (height, width, 3), as `pictures.planes` does it."""
    colour = planes.colour_of(model)
    if colour == "planes":
        batch = tf.transpose(picture, (2, 0, 1))[..., None]
        return tf.transpose(restore(batch)[..., 0], (1, 2, 0))
    if colour == "rgb":
        return restore(picture[None])[0]
    restored = restore(planes.luminance(picture)[None])[0]
    if model.output_scale > 1:
        # Keys' cubic with a = -0.5 and half-pixel centres, as Pillow's.
        size = tf.shape(restored)[:2]
        kernel = tf.image.ResizeMethod.BICUBIC
        picture = tf.image.resize(picture, size, kernel, antialias=True)
    _, cb, cr = planes.to_ycbcr(picture)
    return tf.concat(planes.to_rgb(restored, cb, cr), axis=-1)


def _decode(file, max_pixels):
    """A JPEG or PNG file as float32 (height, width, 3) in [0, 1]."""
    is_png = tf.equal(tf.strings.substr(file, 0, len(_PNG)), _PNG)
    is_jpeg = tf.equal(tf.strings.substr(file, 0, len(_JPEG)), _JPEG)
    known = tf.debugging.Assert(
        is_png | is_jpeg, ["image_bytes: not a JPEG or PNG file"], summarize=1
    )
    with tf.control_dependencies([known]):
        is_png = tf.identity(is_png)
    # The header gives the size before a decoder allocates memory for the picture.
    height, width = tf.cond(
        is_png, lambda: _png_size(file), lambda: tuple(tf.unstack(_jpeg_size(file)))
    )
    with tf.control_dependencies([_check_size([1, height, width], max_pixels)]):
        is_png = tf.identity(is_png)
    pixels = tf.cond(
        is_png,
        lambda: tf.io.decode_png(file, channels=3),
        # What Pillow's libjpeg does; the default is faster and differs by a level or two.
        lambda: tf.io.decode_jpeg(file, channels=3, dct_method="INTEGER_ACCURATE"),
    )
    return tf.cast(pixels, tf.float32) / 255


def _png_size(file):
    """Height and width of a PNG: two big-endian numbers at bytes 16-23, width first."""
    digits = tf.cast(tf.io.decode_raw(tf.strings.substr(file, 16, 8), tf.uint8), tf.int64)
    places = tf.constant([1 << 24, 1 << 16, 1 << 8, 1], tf.int64)
    width, height = tf.unstack(tf.reduce_sum(tf.reshape(digits, (2, 4)) * places, axis=1))
    return height, width


def _jpeg_size(file):
    return tf.cast(tf.image.extract_jpeg_shape(file)[:2], tf.int64)


def _check_size(shape, max_pixels):
    _, height, width = (tf.cast(side, tf.int64) for side in tf.unstack(shape)[:3])
    allowed = (height > 0) & (width > 0) & (height <= max_pixels // tf.maximum(width, 1))
    message = f"pictures of 1 to {max_pixels} pixels are taken; height and width here:"
    return tf.debugging.Assert(allowed, [message, height, width])


def _check_values(images):
    # NaN is neither above nor below anything.
    allowed = tf.reduce_all((images >= 0) & (images <= 1))
    message = (
        "images: finite values in [0, 1] are taken; divide 8-bit pixels by 255, or clip. "
        "Smallest and largest here:"
    )
    return tf.debugging.Assert(allowed, [message, tf.reduce_min(images), tf.reduce_max(images)])


def _encode(picture):
    """(height, width, 3) float as an 8-bit PNG file; rounded, never truncated."""
    pixels = tf.cast(tf.round(tf.clip_by_value(picture, 0, 1) * 255), tf.uint8)
    return tf.io.encode_png(pixels, compression=1)  # a sixth of the default's time, 5 % larger
