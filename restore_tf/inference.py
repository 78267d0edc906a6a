"""A trained network applied to pictures of any size."""

from __future__ import annotations

import os

import keras
import numpy as np

from restore_tf import checkpoints, experiment
from restore_tf.errors import UserError
from restore_tf.images import from_float, to_float


def load_model(
    workdir: str | os.PathLike,
    checkpoint: str = "best",
    stages: int | None = None,
    local_attention: bool | int | None = None,
):
    """Returns the network of a run directory, with its trained weights.

    Args:
      workdir: a run directory, as train.py and convert.py make them.
      checkpoint: "best", the weights with the highest validation PSNR, or "latest".
      stages: run only the first so many stages of a multi-stage network (MPRNet's early exits).
      local_attention: for MPRNet, replace global channel attention by a sliding mean over 1.5
        times what each attention saw in training; True takes the training crop of the recipe, a
        number is that crop's side in pixels.

    Raises:
      UserError: not a run directory, no such checkpoint yet, weights that do not fit, or a network
        without such stages or attention.
    """
    recipe, _ = experiment.read(workdir)
    arguments = {}
    if stages is not None:
        arguments["stages"] = stages
    if local_attention:
        arguments["local_attention"] = recipe.crop if local_attention is True else local_attention
    model = experiment.build(recipe, **arguments)
    checkpoints.load_weights(workdir, model, checkpoint)
    return model


def restore(model, image: np.ndarray) -> np.ndarray:
    """Restores one picture of any size.

    The picture is padded at the bottom and right to the model's `size_multiple`, in the model's
    way (`padding`), and cropped after. Colour runs through a one-channel model as three planes; a
    gray picture runs through a colour model as three equal channels, whose mean is returned.

    Args:
      model: a `Restorer`.
      image: (height, width, 3), (height, width, 1) or (height, width); uint8, uint16, or float in
        [0, 1], sRGB as stored.

    Returns:
      The restored picture, of the same shape and type. Integers are clipped and rounded; floats
      are as the network gives them and may lie slightly outside [0, 1].

    Raises:
      UserError: another shape or type.
    """
    image = np.asarray(image)
    if image.ndim not in (2, 3) or 0 in image.shape or image.shape[2:] not in ((), (1,), (3,)):
        raise UserError(
            f"image of shape {image.shape}; expected (height, width), (height, width, 1) or "
            "(height, width, 3)."
        )
    pixels = to_float(image)
    planes = pixels.reshape(*pixels.shape[:2], -1)
    batch = _to_batch(planes, model.channels)
    height, width = planes.shape[:2]
    restored = answer(model, pad(batch, model))[:, :height, :width]
    restored = _from_batch(restored, planes.shape[-1])
    return from_float(restored.reshape(image.shape), image.dtype)


def _to_batch(planes, channels):
    if channels == 1:
        return np.moveaxis(planes, -1, 0)[..., None]
    return np.broadcast_to(planes, (*planes.shape[:2], channels))[None]


def _from_batch(batch, channels):
    if batch.shape[-1] == 1:
        return np.moveaxis(batch[..., 0], 0, -1)
    return batch[0] if channels == batch.shape[-1] else batch[0].mean(axis=-1, keepdims=True)


def pad(batch: np.ndarray, model) -> np.ndarray:
    """Pads (batch, height, width, channels) at the bottom and right to the model's multiple.

    Where a picture is smaller than the padding, NumPy goes on reflecting; a single row or column is
    repeated.
    """
    multiple = model.size_multiple
    bottom, right = (-batch.shape[1] % multiple, -batch.shape[2] % multiple)
    return np.pad(batch, ((0, 0), (0, bottom), (0, right), (0, 0)), mode=model.padding)


def answer(model, images: np.ndarray) -> np.ndarray:
    """Runs a batch of padded images and returns the last stage, (batch, height, width, channels).

    On TensorFlow the network is compiled once, for all sizes, and what only the other stages need
    is left out.
    """
    if keras.backend.backend() != "tensorflow":
        return np.asarray(model.predict_on_batch(images)[-1])  # compiled; keeps no gradients
    import tensorflow as tf

    compiled = getattr(model, "_compiled_answer", None)
    if compiled is None:
        signature = tf.TensorSpec((None, None, None, model.channels), tf.float32)
        compiled = tf.function(lambda x: model(x, training=False)[-1], input_signature=[signature])
        model._compiled_answer = compiled
    return compiled(tf.convert_to_tensor(images)).numpy()
