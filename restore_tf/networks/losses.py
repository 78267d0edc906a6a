"""Losses over a network's stages, each one value per image, and the sums that a recipe may name.

A loss takes (sharp, stages): the sharp images (batch, height, width, channels) in [0, 1] and the
list that a `Restorer` returns. It returns (batch,) float32. The training loop reduces it once, by
the global batch: a loss that reduced by itself would be counted once per replica under
`tf.distribute`, so that updates come out as many times too large as there are replicas.

A recipe names one of `LOSSES`, one of the terms of `loss_terms`, or a weighted sum of such:

    charbonnier + 0.05*edge + 0.1*perceptual:vgg16
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable

from keras import ops

from restore_tf.errors import UserError
from restore_tf.networks.layers import antialiased_downsample, legacy_downsample
from restore_tf.networks.loss_terms import (
    PERCEPTUAL,
    TERMS,
    charbonnier,
    edge,
    frequency,
    perceptual,
    squared_error,
)

_WORD = re.compile(  # of a sum
    r"\s*(?:(?P<weight>[\d.]+(?:e[+-]?\d+)?)\s*\*)?\s*(?P<name>[a-z][\w:]*)\s*", re.IGNORECASE
)


def multi_scale_squared_error(sharp, stages):
    """Squared error summed over scales, all weights 1 (SRN, section 3.3).

    Args:
      sharp: (batch, height, width, channels).
      stages: coarse to fine, each twice the size of the one before, the last as large as `sharp`.
        The sharp image is brought to each scale by TF1's resize, as the network's input is.
    """
    return _over_scales(squared_error, sharp, stages)


def multi_scale_charbonnier(sharp, stages):
    """Charbonnier penalty summed over scales.

    Args:
      sharp: (batch, height, width, channels) in [0, 1].
      stages: coarse to fine, as for `multi_scale_squared_error`.

    Returns:
      One value per image, (batch,).
    """
    return _over_scales(charbonnier, sharp, stages)


def _over_scales(term, sharp, stages):
    return sum(
        term(legacy_downsample(sharp, 2**exponent), restored)
        for exponent, restored in zip(reversed(range(len(stages))), stages, strict=True)
    )


def charbonnier_edge(sharp, stages):
    """Charbonnier plus 0.05 times edge loss, summed over stages (MPRNet, equation 1).

    Args:
      sharp: (batch, height, width, channels) in [0, 1].
      stages: pictures of the same shape.

    Returns:
      One value per image, (batch,).
    """
    return sum(charbonnier(sharp, stage) + 0.05 * edge(sharp, stage) for stage in stages)


def charbonnier_clipped(sharp, stages):
    """Charbonnier on outputs clipped to [0, 1], summed over stages: MPRNet's denoising training.

    Args:
      sharp: (batch, height, width, channels) in [0, 1].
      stages: pictures of the same shape.

    Returns:
      One value per image, (batch,).
    """
    return sum(charbonnier(sharp, ops.clip(stage, 0.0, 1.0)) for stage in stages)


def charbonnier_frequency(sharp, stages):
    """Charbonnier plus 0.1 times frequency loss, summed over stages and scales (MAXIM).

    Args:
      sharp: (batch, height, width, channels), of known height and width.
      stages: pictures of the size of `sharp`, or a half or a quarter of it, in any order. The sharp
        image is brought to each scale by bilinear resize with antialiasing.
    """

    def term(target, restored):
        return charbonnier(target, restored) + 0.1 * frequency(target, restored)

    return over_stages(term, antialiased_downsample)(sharp, stages)


def over_stages(term: Callable, downsample: Callable) -> Callable:
    """Returns the loss that sums a term over the stages.

    A stage smaller than the sharp picture is compared to that at the stage's scale.

    Args:
      term: function of (sharp, restored), see `loss_terms`.
      downsample: brings (batch, height, width, channels) to 1/factor, such as
        `layers.antialiased_downsample`.
    """

    def loss(sharp, stages):
        targets, total = {1: sharp}, 0.0
        for restored in stages:
            factor = _factor(sharp, restored)
            if factor not in targets:
                targets[factor] = downsample(ops.cast(sharp, "float32"), factor)
            total = total + term(targets[factor], restored)
        return total

    return loss


def _factor(sharp, restored):
    """How many times smaller the restored picture is; 1 where its size is not known yet."""
    large, small = sharp.shape[1], restored.shape[1]
    return 1 if None in (large, small) else large // small


LOSSES = {
    "multi_scale_squared_error": multi_scale_squared_error,
    "multi_scale_charbonnier": multi_scale_charbonnier,
    "charbonnier_edge": charbonnier_edge,
    "charbonnier_clipped": charbonnier_clipped,
    "charbonnier_frequency": charbonnier_frequency,
}


def get(text: str, downsample: Callable = antialiased_downsample) -> Callable:
    """Returns the loss that a recipe names: a function of (sharp, stages).

    Args:
      text: a name of `LOSSES` or `TERMS`, or a sum of such, each with a weight or without:
        "charbonnier + 0.05*edge". Terms are summed over the stages.
      downsample: how the sharp picture is brought to the scale of a smaller stage; a network knows,
        see `Restorer.downsample`.

    Raises:
      UserError: there is no such loss (lists those there are), it is no sum of them, or weights
        that it needs are not on this machine.
    """
    parts = [(weight, _named(name, downsample)) for weight, name in _parsed(text)]
    if len(parts) == 1 and parts[0][0] == 1:
        return parts[0][1]

    def loss(sharp, stages):
        return sum(weight * part(sharp, stages) for weight, part in parts)

    return loss


def _parsed(text):
    """[(weight, name)] of a sum."""
    found, place = [], -1
    while place < len(text):  # behind a plus
        word = _WORD.match(text, place + 1)
        place = word.end() if word else -1
        if word is None or text[place : place + 1] not in ("", "+"):
            raise UserError(
                f"loss {text}: expected a name or a sum such as charbonnier + 0.05*edge."
            )
        found.append((_weight(word["weight"], text), word["name"]))
    return found


def _weight(text, whole):
    try:
        weight = float(text or 1)
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:
        raise UserError(f"loss {whole}: a weight is a number above 0, not {text}.")
    return weight


def _named(name, downsample):
    if name in LOSSES:
        return LOSSES[name]
    if name in TERMS:
        return over_stages(TERMS[name], downsample)
    if name.partition(":")[0] in PERCEPTUAL:
        return over_stages(perceptual(name), downsample)
    names = [*TERMS, "perceptual:mobilenet_v3_small", "perceptual:vgg16", *LOSSES]
    close = difflib.get_close_matches(name, names, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    raise UserError(f"loss {name}: no such loss; there are {', '.join(names)}{hint}.")
