"""Writes warm-up requests, which TensorFlow Serving runs before it accepts others.

The first run of a graph is slow: memory is allocated, kernels are chosen and compiled. TF Serving
runs the requests in `assets.extra/tf_serving_warmup_requests` while it loads a version, so that the
first client does not wait (TFX guide, "SavedModel Warmup"): a TFRecord file of `PredictionLog`
messages, 1,000 at most.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from restore_tf.pictures import files
from restore_tf.pictures.decoding import Picture
from restore_tf.pictures.pixels import to_float
from restore_tf.system.files import atomic_path
from restore_tf.system.log import logger

PLACE = Path("assets.extra") / "tf_serving_warmup_requests"
SIZES = ((256, 256),)


def write_requests(
    version_dir: str | os.PathLike,
    model_name: str = "restore_tf",
    sizes: Sequence[tuple[int, int]] = SIZES,
    channels: int = 3,
    max_pixels: int | None = None,
) -> int:
    """Writes warm-up requests for both signatures into an exported SavedModel.

    For each size there are three: floats for `serving_default`, and a JPEG and a PNG file for
    `serving_bytes`. They show the middle of a photo, reflected where it is too small.

    Args:
      version_dir: the SavedModel, DIR/saved_model/<version>.
      model_name: the name that it will be served under.
      sizes: (height, width) of the expected pictures, in pixels; each is run at every start of the
        server, and takes 12 bytes a pixel of the file.
      channels: of the network. A request that fails keeps TF Serving from loading the version.
      max_pixels: as the export's; larger sizes are left out, since the graph refuses them. None
        for no limit.

    Returns:
      How many requests were written; 0 where tensorflow-serving-api is missing.
    """
    try:
        from tensorflow_serving.apis import prediction_log_pb2
    except ImportError:
        logger.warning("no warm-up requests: they need tensorflow-serving-api, restore_tf[serve].")
        return 0
    import tensorflow as tf

    path = Path(version_dir) / PLACE
    path.parent.mkdir(exist_ok=True)
    allowed = [s for s in sizes if max_pixels is None or s[0] * s[1] <= max_pixels]
    if len(allowed) < len(sizes):
        logger.warning(
            "warm-up requests: %d sizes are above %d pixels.", len(sizes) - len(allowed), max_pixels
        )
    requests = [r for size in allowed for r in _requests(model_name, _photo(*size), channels)]
    with atomic_path(path) as temporary, tf.io.TFRecordWriter(str(temporary)) as writer:
        for request in requests:
            log = prediction_log_pb2.PredictionLog()
            log.predict_log.request.CopyFrom(request)
            writer.write(log.SerializeToString())
    return len(requests)


def _photo(height, width):
    from skimage import data

    photo = data.chelsea()
    top, left = (max(0, (photo.shape[a] - s) // 2) for a, s in enumerate((height, width)))
    photo = photo[top : top + height, left : left + width]
    bottom, right = height - photo.shape[0], width - photo.shape[1]
    return np.pad(photo, ((0, bottom), (0, right), (0, 0)), mode="symmetric")


def _requests(model_name, photo, channels):
    floats = to_float(photo)[None, ..., np.arange(channels) % 3]
    yield _request(model_name, "serving_default", "images", floats)
    for ending in (".jpg", ".png"):
        file = files.encode(Picture(photo), ending)
        yield _request(model_name, "serving_bytes", "image_bytes", [file])


def _request(model_name, signature, name, value):
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = model_name
    request.model_spec.signature_name = signature
    request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request
