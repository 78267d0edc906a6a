"""Scores a quantised file's pictures against the Keras model's, in dB."""

from __future__ import annotations

import math

import numpy as np

from restore_tf.evaluation import metrics

_RESTORED_MSE = 1e-3  # in image units: 30 dB, what restoring a GoPro frame leaves
_HIGHEST_PSNR = 200.0  # dB; for equal pictures, whose PSNR JSON cannot hold


def score(
    reference: np.ndarray, restored: np.ndarray, sharp: np.ndarray | None
) -> dict[str, float | str | None]:
    """Measures how far a file's pictures are from the Keras model's, and the PSNR that it loses.

    Args:
      reference: the Keras model's output, (count, height, width, channels) float, not clipped.
      restored: the file's output, the same shape.
      sharp: the sharp pictures, uint8, the same shape; None where unknown.

    Returns:
      All in dB: psnr_to_float, of the file's pictures against the model's, both clipped to [0, 1];
      psnr_float and psnr, means over the crops of the model's and the file's against sharp ones in
      8 bits, None without; psnr_loss, and in loss_of the reference of that loss. Without sharp
      pictures the loss is an estimate: the error is taken to be independent of the remaining error
      of a restoration of 30 dB, 10 log10(1 + MSE / 1e-3).
    """
    error = float(np.mean((np.clip(reference, 0, 1) - np.clip(restored, 0, 1)) ** 2))
    scores = {"psnr_to_float": _psnr(error), "psnr_float": None, "psnr": None}
    if sharp is None:
        loss = 10 * math.log10(1 + error / _RESTORED_MSE)
        return scores | {"psnr_loss": loss, "loss_of": "estimated for a restoration of 30 dB"}
    for name, pictures in (("psnr_float", reference), ("psnr", restored)):
        values = [metrics.psnr(*pair) for pair in zip(sharp, pictures, strict=True)]
        scores[name] = float(np.mean(np.minimum(values, _HIGHEST_PSNR)))
    loss = scores["psnr_float"] - scores["psnr"]
    return scores | {"psnr_loss": loss, "loss_of": "against sharp pictures"}


def _psnr(error):
    return -10 * math.log10(error) if error > 10 ** (-_HIGHEST_PSNR / 10) else _HIGHEST_PSNR
