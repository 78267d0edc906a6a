"""What conversions start from: SavedModels of one input size, and crops with Keras' pictures.

    python -m restore_tf.export.prepared JOB.json

For the job see `jobs`. Importing this imports no TensorFlow.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from restore_tf.errors import UserError

ENDPOINT = "serving_default"
_CROPS = "crops.npz"


def prepare(
    workdir: str,
    load_arguments: Mapping[str, Any],
    size: tuple[int, int] | None,
    eight_bit: Sequence[bool],
    crop: tuple[int, int],
    count: int,
    samples: str,
    folder: str,
) -> dict[str, Any]:
    """Writes the input of conversions: SavedModels, and crops with the Keras model's output.

    Args:
      workdir: as for `weights.load.load_model`.
      load_arguments: keyword arguments of `weights.load.load_model`.
      size: (height, width) of the input in pixels, None for any.
      eight_bit: which SavedModels to write: True for the one with `write_saved_model`'s ReLU.
      crop: (height, width) of the crops in pixels.
      count: how many crops.
      samples: file of a `samples.Samples`.
      folder: existing folder to write to.

    Returns:
      The network's channels, colour, output_scale, size_multiple, padding and tile_step;
      continuous where it is not.

    Raises:
      UserError: as `load_model`, or a size that the network does not take.
    """
    from restore_tf.export.samples import Samples
    from restore_tf.inference.restore import restore
    from restore_tf.pictures.planes import colour_of
    from restore_tf.weights.load import load_model

    model = load_model(workdir, **load_arguments)
    for side in (*(size or ()), *crop):
        if side % model.size_multiple:
            height, width = size or crop
            raise UserError(
                f"--size {height}x{width}: {model.name} takes multiples of {model.size_multiple} "
                "pixels."
            )
    degraded, sharp = Samples.open(samples).crops(crop, count, model, np.uint8)
    pixels = degraded.astype(np.float32) / 255
    reference = np.stack([restore(model, picture, whole=True) for picture in pixels])
    arrays = {"degraded": degraded, "reference": reference}
    np.savez(Path(folder) / _CROPS, **arrays, **({} if sharp is None else {"sharp": sharp}))
    for relu in sorted(set(eight_bit)):
        write_saved_model(model, size, saved_model(folder, relu), relu)
    return {
        "channels": model.channels,
        "colour": colour_of(model),
        "output_scale": model.output_scale,
        "size_multiple": model.size_multiple,
        "padding": model.padding,
        "tile_step": model.blended_tile.step,
        **({} if model.continuous else {"continuous": False}),
    }


def write_saved_model(
    model, size: tuple[int, int] | None, path: Path, eight_bit: bool = False
) -> None:
    """Writes a network's last stage as a SavedModel for one image at a time.

    Args:
      model: a `Restorer`.
      size: (height, width), None for any.
      path: the folder to make. Its one endpoint takes `images` (1, height, width, channels) and
        gives `restored`, the same shape.
      eight_bit: add a ReLU on the input, which changes no value. TFLite's 8 bits need it, see
        `tflite.convert`.
    """
    import keras
    import tensorflow as tf

    def restore(images):
        images = tf.nn.relu(images) if eight_bit else images
        return {"restored": model.restore_batch(images)}

    signature = tf.TensorSpec((1, *(size or (None, None)), model.channels), tf.float32, "images")
    archive = keras.export.ExportArchive()
    archive.track(model)
    with model.with_folded_weights():
        archive.add_endpoint(ENDPOINT, restore, [signature])
        archive.write_out(str(path), verbose=False)


def saved_model(folder: str | Path, eight_bit: bool = False) -> Path:
    """Returns where `prepare` writes a SavedModel.

    Args:
      folder: as `prepare`'s.
      eight_bit: as `write_saved_model`'s.
    """
    return Path(folder) / ("saved_model_eight_bit" if eight_bit else "saved_model")


def read_crops(folder: str | Path) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Reads the crops that `prepare` wrote.

    Args:
      folder: as `prepare`'s.

    Returns:
      Degraded crops, (count, height, width, channels) uint8; the Keras model's output, float32, not
      clipped; sharp crops, uint8, or None.
    """
    with np.load(Path(folder) / _CROPS, allow_pickle=False) as found:
        sharp = found["sharp"] if "sharp" in found.files else None
        return found["degraded"], found["reference"], sharp


if __name__ == "__main__":
    from restore_tf.export import jobs
    from restore_tf.system.quiet import import_tensorflow

    import_tensorflow()
    sys.exit(jobs.serve(sys.argv[1], {"prepare": prepare}))
