"""`restore.py --disagreement`: a map of where a sampler's pictures disagree."""

from __future__ import annotations

import numpy as np
from absl import flags

from restore_tf.commands.flags import model as model_flags
from restore_tf.errors import UserError
from restore_tf.pictures import heat_map, hidden
from restore_tf.pictures.decoding import Picture
from restore_tf.pictures.pixels import to_float
from restore_tf.system.log import logger

SEEDS = 8  # pictures; each pixel's deviation is then known to about a fifth
_UNIT = "levels of 255"


def define(values: flags.FlagValues) -> None:
    """Defines --disagreement.

    Args:
      values: the command's flags.
    """
    meaning = (
        f"also write NAME_disagreement.png, a map of where a sampler's pictures of {SEEDS} seeds "
        f"differ; {SEEDS + 1} times as slow"
    )
    flags.DEFINE_boolean("disagreement", False, meaning, flag_values=values)


def check(restore, values: flags.FlagValues) -> None:
    """Checks that a network draws noise.

    Args:
      restore: from `pixels_flags.make`.
      values: the command's flags.

    Raises:
      UserError: it does not.
    """
    from restore_tf.inference.disagreement import draws_noise

    if not draws_noise(restore.model):
        name = model_flags.file_path(values) or model_flags.name(values)
        raise UserError(
            f"--disagreement: {name} draws no noise, so that every --seed gives the same picture; "
            "expected a sampler, such as a diffusion model. Leave it out."
        )


def draw(restore, picture: Picture, values: flags.FlagValues, name: str) -> np.ndarray:
    """Draws the map of a picture over several seeds, the first of which is --seed.

    The restored pictures are compared before they are rounded.

    Args:
      restore: from `pixels_flags.make`.
      picture: the degraded one.
      values: the command's flags.
      name: of the picture, for the message about the deviation.

    Returns:
      (height, width, 3) uint8, larger by the legend below the map.
    """
    from restore_tf.inference.disagreement import deviation

    filled = to_float(hidden.fill(picture.pixels, picture.alpha))
    levels = 255 * deviation(lambda seed: restore(filled, seed), values.seed, SEEDS)
    levels = hidden.put_back(levels, np.zeros(picture.pixels.shape[:2]), picture.alpha)
    logger.info(
        "%s: pictures of %d seeds deviate by %.2g of 255 levels on average, by %.2g at most",
        name, SEEDS, levels.mean(), levels.max(),
    )  # fmt: skip
    return heat_map.draw(levels, _UNIT, f"standard deviation over {SEEDS} seeds")
