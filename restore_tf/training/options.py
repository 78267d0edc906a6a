"""Options of a training that a machine or a run decides, not its recipe; and how it ended."""

from __future__ import annotations

import dataclasses

from restore_tf.errors import UserError

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
AUTO = "auto"  # of --precision: float32 or mixed_bfloat16, as measured before the first step


@dataclasses.dataclass(frozen=True)
class Options:
    """Options that a machine or a run decides.

    Raises:
      UserError: an unknown precision.

    Attributes:
      seed: of the weights, the data's order and all augmentation.
      checkpoint_every: steps between checkpoints to resume from.
      validate_every: steps between validations.
      log_every: steps between rows of metrics.csv. Losses stay on the device until then: they are
        read, and checked, together.
      validation_pictures: how many validation pairs are used, spread evenly over the split.
      resume: continue from the run directory's newest checkpoint where there is one.
      precision: one of `PRECISIONS`: what the layers compute in. Weights, images, last layer and
        loss are float32 in all of them; "mixed_float16" scales the loss.
      accumulate: micro-batches that each device's images are cut into, to save memory.
      early_stopping: validations without a new best score (of the experiment's `best_metric`)
        after which the training ends, or None.
      init_from: run directory whose best weights this one starts from, or None.
      init_predictor: run directory whose best weights the network's `predictor` has, or None.
    """

    seed: int = 0
    checkpoint_every: int = 500
    validate_every: int = 500
    log_every: int = 50
    validation_pictures: int = 8
    resume: bool = True
    precision: str = "float32"
    accumulate: int = 1
    early_stopping: int | None = None
    init_from: str | None = None
    init_predictor: str | None = None

    def __post_init__(self):
        if self.precision not in PRECISIONS:
            raise UserError(
                f"--precision {self.precision}: expected one of {', '.join(PRECISIONS)}."
            )


@dataclasses.dataclass(frozen=True)
class Result:
    """How a training ended.

    Attributes:
      step: the last step done.
      finished: False where a signal ended it early; the run can be resumed.
      best_score: the best validation's, such as a PSNR in dB.
      degraded_score: of the unrestored validation pictures; None where there is none.
      metric: the experiment's `best_metric`, which both scores are of.
    """

    step: int
    finished: bool
    best_score: float
    degraded_score: float | None
    metric: str = "psnr"
