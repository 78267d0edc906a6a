"""A small SavedModel with the two signatures of an export, whose answers are known by hand."""

import io

import numpy as np
import tensorflow as tf
from PIL import Image


class Inverting(tf.Module):
    """Answers 1 - image, and so 255 - pixel for files."""

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32, name="images")])
    def default(self, images):
        """Signature serving_default."""
        return {"restored": 1 - images}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="image_bytes")])
    def files(self, image_bytes):
        """Signature serving_bytes."""

        def restore(file):
            pixels = tf.io.decode_image(file, channels=3, expand_animations=False)
            return tf.io.encode_png(255 - pixels)

        return {"restored_bytes": tf.map_fn(restore, image_bytes, fn_output_signature=tf.string)}


class Slow(Inverting):
    """The same after a while; `serving_default` only."""

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32, name="images")])
    def default(self, images):
        """Works for about as many hundredths of a second as the first pixel says."""
        count = tf.cast(images[0, 0, 0, 0], tf.int32)

        def work(done, total):
            product = tf.random.stateless_uniform((200, 200), (1, done)) @ tf.ones((200, 200))
            return done + 1, total + 0 * tf.reduce_sum(product)

        _, total = tf.while_loop(
            lambda done, _: done < count, work, (0, 0.0), parallel_iterations=1
        )
        return {"restored": images + total}


def save(directory, kind=Inverting, versions=(1,)):
    """Writes SavedModels DIR/1, DIR/2, … and returns DIR."""
    module = kind()
    signatures = {"serving_default": module.default, "serving_bytes": module.files}
    for version in versions:
        tf.saved_model.save(module, str(directory / str(version)), signatures=signatures)
    return directory


def png(pixels):
    """Returns pixels as a PNG file."""
    return _file(pixels, "PNG")


def jpeg(pixels):
    """Returns pixels as a JPEG file."""
    return _file(pixels, "JPEG")


def _file(pixels, kind):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def pixels(file):
    """Returns a file's pixels."""
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
