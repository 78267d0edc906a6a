"""What every network of this package is: a keras.Model that restores an image in stages.

Shared code (training, tiles, exports, video) knows a network by this class alone and names no
paper. A paper overrides attributes and methods of this class; the defaults fit a plain
feed-forward network.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
from keras import ops

from restore_tf.networks import losses
from restore_tf.networks.bfloat16 import biased, cast_once
from restore_tf.networks.layers import antialiased_downsample
from restore_tf.networks.tiler import BlendedTile

COLOURS = ("rgb", "planes", "luminance")


class Restorer(keras.Model):
    """A network whose `call` returns the images of all its stages; the last one is the answer.

    Subclasses implement

        call(images, training=False) -> [stage 1, …, stage n]

    with images (batch, height, width, channels) float in [0, 1], sRGB as stored, and stages from
    first (or coarsest) to last. Height and width may differ from call to call and must be
    multiples of `size_multiple`; `restore_tf.restore` pads and crops, the network never does.

    Attributes:
      channels: image channels, 3 (RGB) or 1.
      colour: how a colour picture passes through a one-channel network: "planes", red, green and
        blue each by itself, or "luminance", Y of YCbCr alone while Cb and Cr stay; "rgb" for
        networks of three channels. See `restore_tf.pictures.planes`.
      output_scale: the restored image is so many times as high and as wide as the degraded one.
      size: the only (height, width) it takes, or None for any; files for devices fix it.
      size_multiple: height and width must be multiples of it, in pixels.
      padding: how pictures are padded to that multiple at the bottom and right, as named by
        `numpy.pad`: "edge" or "reflect".
      bytes_per_pixel: memory that restoring takes, per pixel of the degraded picture, as measured
        on TensorFlow's CPU.
      blended_tile: how tiles are cut where there is no `tiler`.
      continuous: whether the answer moves by a little where the picture does. Thresholds and
        rounding do not: there two runs that differ in the last bit can be a level apart.
      adapt_samples: how many samples of the training data `adapt` wants; 0 where nothing adapts.
      draws_in_training: whether `training_loss` draws at random, by the seeds.
      evaluations: passes through its networks that restoring a picture takes.
      updated_together: how many networks one training step of its own loss updates.
      knobs: {argument of the constructor: values worth comparing} of what trades quality, time and
        detail when it restores, such as a sampler's steps.
      links: of a `networks.chain.Chain` the networks that a picture passes one after the other,
        each padded, cut up and cropped by itself.
      run: of a link, the run directory that its weights are in; None where they are the chain's.
      stages_loss: function of (sharp, stages) that returns one value per image; `compile` sets it.
    """

    channels: int = 3
    colour: str = "rgb"
    output_scale: int = 1
    size: tuple[int, int] | None = None
    size_multiple: int = 1
    padding: str = "edge"
    bytes_per_pixel: float = 1000.0
    blended_tile = BlendedTile()
    continuous: bool = True
    adapt_samples: int = 0
    draws_in_training: bool = False
    evaluations: int = 1
    updated_together: int = 1
    knobs: Mapping[str, Sequence[int]] = {}
    links: Sequence[Restorer] = ()
    run: Path | None = None
    stages_loss = None

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        # Under mixed precision the blocks cast what they take. The images themselves stay float32:
        # 16 bits would round them before anything is restored.
        self.autocast = False
        self._inference_only = False
        # Not as an attribute, which SavedModels would hold: {(folded weights, images or None for
        # any number): compiled network}.
        self.__dict__["_compiled"] = {}

    def build(self, input_shape=None):
        """Creates every weight by one call on the smallest picture the network takes."""
        if self.built:
            return
        self.built = True  # first, because the call below asks for it again
        side = self.size_multiple
        self(ops.zeros((1, side, side, self.channels)))

    # A paper may override these.

    def restore_batch(self, images, seed=None, origin=None):
        """Restores a batch at once: the answer alone, (batch, height, width, channels).

        A network that takes more than one pass (a sampler) overrides this. The picture must not
        depend on how it is cut into tiles or put into batches: what is drawn at random is a
        function of the seed and of each pixel's place in the whole picture, see `networks.noise`.

        Args:
          images: (batch, height, width, channels) float32 in [0, 1], padded to `size_multiple`.
          seed: int32 tensor (2,), the same for all tiles of a picture; None stands for zeros.
          origin: int32 tensor (batch, 2), (top, left) in pixels of each image within the picture
            that it is a tile of; None stands for zeros.
        """
        return self(images, training=False)[-1]

    def training_loss(self, degraded, sharp, seeds=None):
        """Loss of a batch, one value per image: (batch,) float32.

        A network with a loss of its own overrides this. One that draws noise or time steps says so
        by `draws_in_training`, and draws them as a function of `seeds` alone: then resuming,
        micro-batches and replicas change nothing.

        Args:
          degraded: (batch, height, width, channels) float in [0, 1].
          sharp: its sharp partners, `output_scale` times as high and wide.
          seeds: int32 (batch, 2): the run's seed and the number of each sample.
        """
        return self.stages_loss(sharp, self(degraded, training=True))

    def adapt(self, batches):
        """Learns from data what no gradient of the training teaches; nothing by default.

        A training does this at its end, with the best weights in place. (Keras' word for layers
        that learn by looking at data.)

        Args:
          batches: of (degraded, sharp), as `training_loss` takes them; `adapt_samples` in all.
        """

    def downsample(self, images, factor):
        """Brings the sharp picture to the scale of a stage that is smaller than the last.

        As the network makes its own input of that scale, else the two do not lie on each other.

        Args:
          images: (batch, height, width, channels) float32.
          factor: 2, 4, …; height and width are multiples of it.

        Returns:
          (batch, height / factor, width / factor, channels).
        """
        return antialiased_downsample(images, factor)

    def tiler(self):
        """Returns what restores a picture in tiles with the numbers of the whole, or None.

        Where there is none, pictures that do not fit into memory are restored in blended tiles, as
        `blended_tile` says. A tiler has the methods of `restore_tf.networks.tiler.Tiler`.
        """
        return None

    def folded_weights(self) -> tuple[float, ...]:
        """Returns the values of the weights that a graph gains from holding as constants."""
        return ()

    def use_folded_weights(self, values: tuple[float, ...]) -> None:
        """Computes with folded numbers in place of the weights that `folded_weights` lists.

        Args:
          values: as `folded_weights` returned them; () for the weights again.
        """

    # The same for all papers.

    def for_inference(self):
        """Declares the weights fixed; returns itself.

        So graphs hold folded constants and, in bfloat16, weights that are cast once. `set_weights`
        and `load_weights` may still replace all of them; a weight that is assigned by itself may
        go unnoticed.
        """
        self._inference_only = True
        return self

    def set_weights(self, weights):
        """Sets all weights, as Keras does.

        Args:
          weights: arrays, in the order of `weights`.
        """
        super().set_weights(weights)
        self._forget_graphs()

    def load_weights(self, filepath, skip_mismatch=False, **kwargs):
        """Loads weights, as Keras does.

        Args:
          filepath: of the file.
          skip_mismatch: whether layers that do not fit keep theirs.
          kwargs: Keras' others.
        """
        super().load_weights(filepath, skip_mismatch=skip_mismatch, **kwargs)
        self._forget_graphs()

    def _forget_graphs(self):
        if self._inference_only:
            self.__dict__["_compiled"].clear()

    @contextlib.contextmanager
    def with_folded_weights(self) -> Iterator[None]:
        """Within this context, traced graphs hold `folded_weights` as constants.

        For inference and export: a graph can do more with a constant than with a variable. See
        `networks.bfloat16.biased`, too.
        """
        self.use_folded_weights(self.folded_weights())
        try:
            with biased(self):
                yield
        finally:
            self.use_folded_weights(())

    def restore_padded(
        self, images: np.ndarray, seed: int = 0, origins: np.ndarray | None = None
    ) -> np.ndarray:
        """Restores a batch of padded images, NumPy in and out; returns the answer.

        On TensorFlow the network is compiled once, for all sizes, and what only the other stages
        need is left out; again where `folded_weights` change.

        Args:
          images: (batch, height, width, channels) float32 in [0, 1], padded to `size_multiple`.
          seed: of what is drawn at random.
          origins: int (batch, 2), see `restore_batch`.
        """
        if origins is None:
            origins = np.zeros((len(images), 2))
        inputs = images, np.array([seed, 0], np.int32), np.asarray(origins, np.int32)
        if keras.backend.backend() == "tensorflow":
            return self._graph(len(images))(*inputs).numpy()
        compiled = self.__dict__["_compiled"]
        if None not in compiled:
            compiled[None] = _Answer(self)
        return np.asarray(compiled[None].predict_on_batch(inputs))  # compiled; keeps no gradients

    def _graph(self, images):
        """The network as a TensorFlow function of so many images of any size."""
        import tensorflow as tf

        folded = self.folded_weights() if self._inference_only else None
        # Single images have a graph of their own where one can do more for them.
        batch = 1 if images == 1 and self.compute_dtype == "bfloat16" else None
        compiled = self.__dict__["_compiled"]
        if (folded, batch) not in compiled:
            function = tf.function(
                self.restore_batch,
                input_signature=[
                    tf.TensorSpec((batch, None, None, self.channels), tf.float32),
                    tf.TensorSpec((2,), tf.int32),
                    tf.TensorSpec((batch, 2), tf.int32),
                ],
                autograph=False,
            )
            for other in [key for key in compiled if key[0] != folded]:
                del compiled[other]
            with contextlib.ExitStack() as stack:
                if self._inference_only:
                    stack.enter_context(self.with_folded_weights())
                    stack.enter_context(cast_once(self))
                compiled[folded, batch] = function.get_concrete_function()
        return compiled[folded, batch]

    def compile(self, optimizer="adam", loss=None, metrics=None, **kwargs):
        """Prepares for `fit` and `evaluate`, on any of Keras' backends.

        Data are batches of (degraded, sharp), both (batch, height, width, channels) float in
        [0, 1], or of (degraded, sharp, seeds) as `datasets.numpy_pairs` and `datasets.pairs` make
        them. Networks with `draws_in_training` need the seeds. In the seeds' place Keras
        takes sample weights (batch,). `restore_tf.training.train` trains under tf.distribute and
        resumes exactly.

        Args:
          optimizer: as Keras'.
          loss: what `networks.losses.get` takes, such as "charbonnier + 0.05*edge", or a function
            of (sharp, stages) that returns one value per image.
          metrics: Keras metrics of the sharp and the restored image, such as
            `restore_tf.networks.keras_metrics.PSNR()`.
          kwargs: the rest of Keras' own.
        """
        named = isinstance(loss, str)
        self.stages_loss = losses.get(loss, self.downsample) if named else loss
        super().compile(optimizer=optimizer, metrics=metrics, **kwargs)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """`training_loss`, the mean over the batch; Keras calls this.

        Args:
          x: the degraded images, (batch, height, width, channels) in [0, 1].
          y: the sharp ones, `output_scale` times as high and wide.
          y_pred: the stages that `call` returned for x.
          sample_weight: seeds (batch, 2), or a weight of each image (batch,), or None.
          training: whether this is `fit`.

        Returns:
          A scalar.

        Raises:
          ValueError: a loss that draws, without seeds.
        """
        seeds, sample_weight = _seeds_and_weights(sample_weight)
        if type(self).training_loss is not Restorer.training_loss:
            if seeds is None and self.draws_in_training:
                raise ValueError(
                    f"the training loss of {self.name} draws noise: fit it on batches of (degraded,"
                    " sharp, seeds), such as those of restore_tf.datasets.numpy_pairs.Batches."
                )
            per_image = self.training_loss(x, y, seeds)
        elif self.stages_loss is None:
            return ops.zeros(())
        else:  # of the stages at hand: `training_loss` would compute them again
            per_image = self.stages_loss(y, y_pred)
        return _Mean()(per_image, per_image, sample_weight)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Updates the compiled metrics with the restored image; Keras calls this.

        Args:
          x: the degraded images.
          y: the sharp ones, (batch, height, width, channels) in [0, 1].
          y_pred: the stages; the last one is scored.
          sample_weight: as for `compute_loss`; seeds are ignored.

        Returns:
          {metric's name: value}.
        """
        return super().compute_metrics(x, y, y_pred[-1], _seeds_and_weights(sample_weight)[1])

    def check_size(self, images):
        """Checks that images have a shape that the network takes.

        Args:
          images: (batch, height, width, channels); unknown sides are None.

        Raises:
          ValueError: other channels, or sides that are no multiples of `size_multiple`.
        """
        shape = tuple(images.shape)
        if len(shape) != 4 or shape[-1] != self.channels:
            raise ValueError(
                f"{self.name} takes images of shape (batch, height, width, {self.channels}), "
                f"got {shape}."
            )
        if any(side is not None and side % self.size_multiple for side in shape[1:3]):
            raise ValueError(
                f"{self.name} takes heights and widths that are multiples of {self.size_multiple},"
                f" got {shape[1]}x{shape[2]}; restore_tf.restore pads pictures of any size."
            )


def _seeds_and_weights(third):
    """(seeds, sample weights) from the third entry of Keras' batches; one of them is None."""
    return (third, None) if third is not None and len(third.shape) == 2 else (None, third)


class _Mean(keras.losses.Loss):
    """The mean of a loss's values per image, scaled under tf.distribute as Keras does."""

    def __init__(self):
        super().__init__(name="mean")

    def call(self, y_true, y_pred):
        return y_pred


class _Answer(keras.Model):
    """`Restorer.restore_batch` as a model's call, for Keras' backends to compile."""

    def __init__(self, restorer):
        super().__init__()
        self.restorer = restorer
        self.autocast = False
        self.built = True

    def call(self, inputs):
        return self.restorer.restore_batch(*inputs)
