"""Predict and refine: a predictor restores, a diffusion model draws the detail it left out.

After Whang et al., "Deblurring via Stochastic Refinement" (CVPR 2022): the restored image is
g(y) + r, with g a deterministic predictor of the degraded image y and r a sample of what is
missing, sharp - g(y), drawn given y by a denoiser. Unlike there, the denoiser predicts v and not
the noise, so that few steps do, and r is divided by its size, so that the schedule fits it.
"""

from __future__ import annotations

import math

import keras
import numpy as np
from keras import ops

from diffusion_tf import schedule
from diffusion_tf.tiles import StepTiler
from diffusion_tf.unet import UNet, arguments
from restore_tf.networks import noise
from restore_tf.networks.restorer import Restorer
from restore_tf.networks.tiler import BlendedTile

VARIANTS = {
    "diffusion": {
        "predictor": arguments(64, (1, 2, 3, 4), 2),
        "denoiser": arguments(32, (1, 2, 4, 4), 2),
    },
    "diffusion_light": {
        "predictor": arguments(32, (1, 2, 3, 4), 2),
        "denoiser": arguments(16, (1, 2, 2), 1),
    },
}
TOY = {"predictor": arguments(8, (1, 2), 1), "denoiser": arguments(8, (1, 2), 1)}

# Evaluations that a graph unrolls; more are a loop of the graph. Tracing ten takes seconds.
_WRITTEN_OUT = 2
_NOISE, _LEVEL = 1, 2  # independent draws of the training loss


class Predictor(Restorer):
    """The deterministic first pass: the U-Net's output added to its input.

    Args:
      width: see `unet.UNet`.
      multipliers: see `unet.UNet`.
      blocks: see `unet.UNet`.
    """

    def __init__(self, width, multipliers, blocks, **kwargs):
        super().__init__(**kwargs)
        self.size_multiple = 2 ** (len(multipliers) - 1)
        self.unet = UNet(3, 3, width, multipliers, blocks, name="unet")

    def call(self, images, training=False):
        """Restores images.

        Args:
          images: (batch, height, width, 3) in [0, 1]; sides are multiples of `size_multiple`.
          training: changes nothing.

        Returns:
          A list of one tensor of the same shape.
        """
        return [images + self.unet(images)]

    def tiler(self):
        """Convolutions alone: exact, see `StepTiler`."""
        from restore_tf.networks.tiler import FiniteReach

        return FiniteReach(self, self.unet.reach())


@keras.saving.register_keras_serializable(package="diffusion_tf")
class Diffusion(Restorer):
    """Predictor and denoiser: stages are [g(y), g(y) + a sample of what it lacks].

    Args:
      predictor: arguments of `Predictor`; or a built `Restorer` of any paper, which is then frozen.
      denoiser: arguments of `unet.UNet`.
      residual_std: divisor of sharp - g(y), about its standard deviation, so that the schedule's
        levels hold. Fixed by the training; never changed after it.
      stages: 1 for the predictor alone, 2 for both.
      steps: evaluations of the denoiser per sample. 1 gives the conditional mean: the highest PSNR.
      samples: number of samples that are drawn and averaged.
      eta: 0 draws noise at the start alone (DDIM), 1 at every step (DDPM).
    """

    blended_tile = BlendedTile(smallest=128, overlap=64)
    bytes_per_pixel = 4000.0
    knobs = {"steps": (1, 2, 4, 8), "samples": (1, 2, 4)}

    draws_in_training = True

    def __init__(
        self,
        predictor,
        denoiser,
        residual_std=0.05,
        stages=2,
        steps=10,
        samples=1,
        eta=0.0,
        **kwargs,
    ):
        super().__init__(name="diffusion", **kwargs)
        _check(stages, steps, samples, eta, residual_std)
        self._config = {"predictor": predictor, "denoiser": denoiser}
        self.residual_std = residual_std
        self.stages, self.steps, self.samples, self.eta = stages, steps, samples, eta
        own = not isinstance(predictor, Restorer)
        self.predictor = Predictor(**predictor, name="predictor") if own else predictor
        self.frozen = not own
        if (self.predictor.output_scale, self.predictor.channels) != (1, 3):
            raise ValueError("the predictor takes and gives colour pictures of one size")
        self.denoiser = UNet(9, 3, **denoiser, embedded=True, name="denoiser")
        multiple = 2 ** (len(denoiser["multipliers"]) - 1) if stages > 1 else 1
        self.size_multiple = math.lcm(self.predictor.size_multiple, multiple)
        self.evaluations = 1 + steps * samples if stages > 1 else 1
        self.updated_together = 1 if self.frozen else 2
        if self.frozen:
            self.predictor.trainable = False

    def build(self, input_shape=None):
        """Creates every weight by one evaluation of both networks."""
        if self.built:
            return
        self.built = True
        images = ops.zeros((1, self.size_multiple, self.size_multiple, self.channels))
        predicted = self.predict_first(images)
        if self.stages > 1:
            self.velocity(images, predicted, images, ops.full((1,), 0.5))

    def call(self, images, training=False, seed=None, origin=None):
        """Restores images; see `Restorer`.

        Args:
          images: (batch, h, w, 3) float in [0, 1].
          training: changes nothing.
          seed: int32 tensor (2,); None for zeros.
          origin: see `Restorer.restore_batch`.

        Returns:
          [g(y), the refined images]; with one stage the first alone.
        """
        self.check_size(images)
        predicted = self.predict_first(images)
        if self.stages == 1:
            return [predicted]
        seed = ops.zeros((2,), "int32") if seed is None else seed
        total = self._sum_of_samples(images, predicted, seed, origin)
        return [predicted, self.refined(predicted, total)]

    def restore_batch(self, images, seed=None, origin=None):
        """Restores (batch, height, width, 3); the noise is one field over the whole picture."""
        return self(images, seed=seed, origin=origin)[-1]

    def predict_first(self, images):
        """Returns g(y), (batch, h, w, 3) float32.

        Args:
          images: y, (batch, h, w, 3) in [0, 1].
        """
        restored = self.predictor(images, training=False)[-1]
        return ops.cast(restored, "float32")

    def refined(self, predicted, total):
        """Returns the restored images: g(y) plus the mean of the samples.

        Args:
          predicted: g(y), (batch, h, w, 3).
          total: sum of the samples, of the same shape.
        """
        return predicted + (self.residual_std / self.samples) * total

    def velocity(self, images, predicted, noisy, level):
        """Returns the denoiser's v, (batch, h, w, 3).

        Args:
          images: y, (batch, h, w, 3).
          predicted: g(y), of the same shape.
          noisy: the noisy residual, of the same shape.
          level: its noise level for each image, (batch,).
        """
        return self.denoiser(ops.concatenate([noisy, images, predicted], axis=-1), level)

    def start(self, shape, seed, origin, sample):
        """Returns the noise that a sample starts from.

        Args:
          shape: (batch, h, w, 3).
          seed: int32 tensor (2,).
          origin: see `Restorer.restore_batch`.
          sample: number of the sample, an int or a tensor.
        """
        return noise.normal(shape, seed, origin, draw=sample * (self.steps + 1))

    def levels(self) -> list[float]:
        """Returns the `steps` + 1 noise levels of the sampling, from noise to clean."""
        return [*schedule.sampling_levels(self.steps)[:-1], 1.0]

    def advance(self, images, predicted, noisy, levels, seed, origin, draw):
        """Performs one step of the sampling; the last one, to level 1, gives the residual itself.

        Args:
          images: y, (batch, h, w, 3).
          predicted: g(y), of the same shape.
          noisy: the residual so far, of the same shape.
          levels: (2,) float32, the step's noise level and the following one.
          seed: int32 tensor (2,).
          origin: see `Restorer.restore_batch`.
          draw: number of the noise field that is used where `eta` is not 0.

        Returns:
          The residual at the following level.
        """
        level, following = levels[0], levels[1]
        each = ops.broadcast_to(level, (ops.shape(images)[0],))
        velocity = self.velocity(images, predicted, noisy, each)
        target = schedule.target_of(noisy, velocity, level)
        predicted_noise = schedule.noise_of(noisy, velocity, level)
        fresh = noise.normal(ops.shape(noisy), seed, origin, draw) if self.eta else 0.0
        return schedule.step(target, predicted_noise, level, following, self.eta, fresh)

    def _sum_of_samples(self, images, predicted, seed, origin):
        """All evaluations of the denoiser, one after another."""
        levels = np.array(self.levels(), np.float32)
        pairs = ops.convert_to_tensor(np.stack([levels[:-1], levels[1:]], axis=1))
        shape, steps = ops.shape(images), self.steps

        def evaluate(k, carried):
            total, noisy = carried
            sample, number = k // steps, k % steps
            first = number == 0
            drawn = self.start(shape, seed, origin, sample)
            noisy = drawn if first is True else ops.where(first, drawn, noisy)
            draw = sample * (steps + 1) + number + 1
            noisy = self.advance(images, predicted, noisy, pairs[number], seed, origin, draw)
            return total + ops.where(number == steps - 1, noisy, 0.0), noisy

        carried = ops.zeros_like(predicted), ops.zeros_like(predicted)
        count = steps * self.samples
        if count > _WRITTEN_OUT:
            return ops.fori_loop(0, count, evaluate, carried)[0]
        for k in range(count):
            carried = evaluate(k, carried)
        return carried[0]

    def training_loss(self, degraded, sharp, seeds=None):
        """L1 of the predictor plus squared error of v at a level drawn per image; (batch,).

        The denoiser's gradient does not reach the predictor, whose quality does not depend on it.

        Args:
          degraded: (batch, height, width, 3) in [0, 1].
          sharp: of the same shape.
          seeds: int32 (batch, 2): the run's seed and the number of each sample.
        """
        degraded, sharp = (ops.cast(each, "float32") for each in (degraded, sharp))
        predicted = self.predict_first(degraded)
        fixed = ops.stop_gradient(predicted)
        level = schedule.cosine_level(noise.uniform_per_image(seeds, _LEVEL))
        drawn = noise.normal(ops.shape(sharp), seeds, draw=_NOISE)
        each = level[:, None, None, None]
        target = (sharp - fixed) / self.residual_std
        noisy = each**0.5 * target + (1.0 - each) ** 0.5 * drawn
        wanted = schedule.velocity(target, drawn, each)
        error = self.velocity(degraded, fixed, noisy, level) - wanted
        loss = ops.mean(ops.square(error), axis=(1, 2, 3))
        if self.frozen:
            return loss
        return loss + ops.mean(ops.abs(predicted - sharp), axis=(1, 2, 3))

    def tiler(self):
        """Every step is tiled in turn, so that tiles give the numbers of the whole; see `tiles`."""
        if self.stages == 1:
            return self.predictor.tiler()
        return StepTiler(self) if self.predictor.tiler() is not None else None

    def get_config(self):
        """The constructor's arguments."""
        return {
            **self._config,
            "residual_std": self.residual_std,
            "stages": self.stages,
            "steps": self.steps,
            "samples": self.samples,
            "eta": self.eta,
        }


def _check(stages, steps, samples, eta, residual_std):
    if stages not in (1, 2):
        raise ValueError(f"stages={stages}; expected 1 (the predictor alone) or 2")
    for name, value in [("steps", steps), ("samples", samples)]:
        if not isinstance(value, int) or not 1 <= value <= 1000:
            raise ValueError(f"{name}={value}; expected a whole number from 1 to 1000")
    if not 0 <= eta <= 1:
        raise ValueError(f"eta={eta}; expected a number from 0 (DDIM) to 1 (DDPM)")
    if not residual_std > 0:
        raise ValueError(f"residual_std={residual_std}; expected a number above 0")
