"""How much of its residual a picture gets, by its sharpest places. Not in the paper.

A sharp photo has soft places, such as a background out of focus, and a network that restores them
harms it. What tells it from a blurred photo is that some other place is sharp, however far away.
Hence the whole picture is asked, and about little, so that the answer holds for other photos than
those of the training: the power means

    m_p = (mean of d^p over the picture)^(1/p),  p = 1, 2, 4, 8,

of the differences d of neighbouring pixels, in grey, at the picture's size, a half and a quarter of
it. m_1 is the mean, m_8 nearly that of the sharpest edges; where no edge is sharp, it is much less
at the picture's size than at a quarter.

The gate is fitted when the network is trained, on pictures as a whole. The squared error that a
strength leaves a picture follows from three numbers, whatever the strength; see `Gate.fit`.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import layers, ops

from restore_tf.networks.layers import Block

POWERS = (1, 2, 4, 8)
SCALES = 3
SMALLEST = 2**SCALES  # pixels of a side: two at the coarsest scale, which differ
_HIDDEN = 16
# Usual values of the contrasts, see `contrasts`, in pictures of the synthetic set `photo`, and how
# far these spread, rounded: a gate that begins with numbers around 0 and 1 learns sooner.
USUAL = (-0.3, 0.0, 0.0, 0.05, -0.3, 0.0, 0.05, 0.05, -3.4, 0.5, 0.55, 0.5)
SPREAD = (0.2, 0.07, 0.06, 0.05, 0.2, 0.07, 0.05, 0.05, 0.5, 0.15, 0.13, 0.1)
_FLOOR = 1 / 255  # least difference: smaller ones are the rounding of 8-bit pictures
MOST = 1.5  # more than the whole residual: short trainings restore too little of strong blur
_ROUNDING = 1 / 12 / 255**2  # squared error of an 8-bit picture
_OPEN = float(-np.log(MOST - 1))  # the logit of the whole residual
_STEPS, _RATE, _DECAY = 1500, 1e-2, 1e-3


class Gate(Block):
    """How much of its residual a picture gets: 0 for nothing, 1 for the whole, `MOST` at most."""

    def __init__(self, **kwargs):
        super().__init__(dtype="float32", **kwargs)  # in mixed precision, too
        self.dense1 = layers.Dense(_HIDDEN, activation="relu", dtype="float32", name="dense1")
        self.dense2 = layers.Dense(
            1,
            activation="sigmoid",
            kernel_initializer="zeros",
            bias_initializer=keras.initializers.Constant(_OPEN),
            dtype="float32",
            name="dense2",
        )
        self.trainable = False  # by `fit` alone

    def call(self, images):
        """(batch, height, width, channels) in [0, 1] -> (batch, 1, 1, 1) in [0, `MOST`]."""
        return self.strength(log_power_means(images))

    def strength(self, means):
        """What `call` makes of a picture's power means.

        Args:
          means: (batch, 12), as `log_power_means` gives them.

        Returns:
          (batch, 1, 1, 1) in [0, `MOST`].
        """
        return MOST * self.dense2(self.dense1(contrasts(means)))[:, None, None]

    def open(self):
        """Lets the whole residual of every picture through, as before `fit`."""
        self.dense2.set_weights([np.zeros((_HIDDEN, 1)), np.array([_OPEN])])

    def adapt(self, batches, restore):
        """Fits the gate to what a network makes of pictures.

        Args:
          batches: of (degraded, sharp), both (batch, height, width, channels) in [0, 1].
          restore: function of a degraded batch that returns the network's answer behind this gate,
            which is open for it.
        """
        self.open()
        means, errors = [], []
        for degraded, sharp in batches:
            degraded = np.asarray(degraded, np.float32)
            means.append(ops.convert_to_numpy(log_power_means(degraded)))
            residual = (restore(degraded) - degraded).astype(np.float64)
            missing = np.asarray(sharp, np.float64) - degraded
            products = missing * missing, missing * residual, residual * residual
            errors.append(np.stack([one.mean(axis=(1, 2, 3)) for one in products], axis=1))
        self.fit(np.concatenate(means), np.concatenate(errors))

    def fit(self, means, errors):
        """Learns strengths that leave the least error, in decibels, so that every picture counts.

        With the residual r that the network adds, and t = sharp - degraded that it should add, the
        strength s leaves the squared error t^2 - 2 s t r + s^2 r^2.

        Args:
          means: (pictures, 12), as `log_power_means` gives them.
          errors: (pictures, 3), the means over a picture of t^2, t r and r^2.
        """
        inputs = ops.convert_to_numpy(contrasts(np.asarray(means, np.float32)))

        def loss(errors, strength):
            strength = MOST * strength[:, 0]
            left = errors[:, 0] - strength * (2 * errors[:, 1] - strength * errors[:, 2])
            kernels = [self.dense1.kernel, self.dense2.kernel]
            decay = sum(ops.sum(ops.square(kernel)) for kernel in kernels)
            return ops.log(ops.maximum(left, 0) + _ROUNDING) + _DECAY * decay

        self.trainable = True
        try:
            network = keras.Sequential([keras.Input(inputs.shape[1:]), self.dense1, self.dense2])
            rate = keras.optimizers.schedules.CosineDecay(_RATE, _STEPS)
            network.compile(keras.optimizers.Adam(rate), loss=loss, jit_compile=False)
            errors = np.asarray(errors, np.float32)
            for _ in range(_STEPS):  # all pictures in each: `fit` would take ten times as long
                network.train_on_batch(inputs, errors)
        finally:
            self.trainable = False


def contrasts(means):
    """How much the power means differ from power to power, and that from scale to scale.

    Args:
      means: (batch, 12), as `log_power_means` gives them.

    Returns:
      (batch, 12), usually around 0 and 1: for each scale, the logarithm of m_1, of m_2 / m_1, of
      m_4 / m_2 and of m_8 / m_4; less that of the next coarser scale, where there is one.
    """
    powers = np.eye(len(POWERS)) - np.eye(len(POWERS), k=-1)
    scales = np.eye(SCALES) - np.eye(SCALES, k=1)
    mixed = np.kron(scales, powers) / np.array(SPREAD)[:, None]
    return ops.matmul(means, mixed.T.astype(np.float32)) - np.divide(
        USUAL, SPREAD, dtype=np.float32
    )


def log_power_means(images, rows=None):
    """The logarithms of the power means of differences of neighbouring pixels.

    Args:
      images: (batch, height, width, channels) in [0, 1]; sides of at least `SMALLEST`.
      rows: takes the differences of so many rows from the top, a multiple of `SMALLEST`; None for
        all rows.

    Returns:
      (batch, 12) float32: for each scale, fine to coarse, those of all `POWERS`.
    """
    found = []
    for scale in range(SCALES):
        # One convolution, and signs apart: in 8 bits, grey pixels would be rounded before they are
        # subtracted, and absolute values lose a bit.
        kernel = _differences(2**scale, images.shape[-1])
        parts = ops.relu(ops.conv(images, kernel, strides=2**scale, padding="valid"))
        steps = parts[..., :2] + parts[..., 2:]
        steps = steps if rows is None else steps[:, : rows >> scale]
        logs = ops.log(ops.maximum(steps, _FLOOR))
        largest = ops.max(logs, axis=(1, 2, 3), keepdims=True)  # so that no power underflows
        for power in POWERS:
            # In two steps: over all axes at once LiteRT's mean in 8 bits is wrong, 0.56 for 0.08.
            rows_means = ops.mean(ops.exp(power * (logs - largest)), axis=2)
            mean = ops.mean(rows_means, axis=(1, 2))
            found.append(largest[:, 0, 0, 0] + ops.log(mean) / power)
    return ops.stack(found, axis=-1)


def _differences(side, channels):
    """The kernel of a square of pixels less the next one, below and beside it, and the reverse."""
    kernel = np.zeros((2, side, 2, side, channels, 4), np.float32)
    kernel[0, :, 0, :, :, :2], kernel[0, :, 0, :, :, 2:] = 1, -1
    for place, sign in [(0, -1), (2, 1)]:
        kernel[1, :, 0, :, :, place] = kernel[0, :, 1, :, :, place + 1] = sign
    return kernel.reshape(2 * side, 2 * side, channels, 4) / (side * side * channels)


def log_power_means_in_strips(shape, read, rows):
    """`log_power_means` of pictures that are read in strips.

    Args:
      shape: (batch, height, width, channels); height and width are multiples of `SMALLEST`.
      read: function of two slices, of rows and columns, that returns a piece of the pictures.
      rows: of a strip, a multiple of `SMALLEST`.
    """
    _, height, width, _ = shape
    powers, sums, counts = np.tile(POWERS, SCALES), -np.inf, 0
    for top in range(0, height, rows):
        # With rows of the next strip, from which the last ones differ at every scale.
        bottom = min(top + rows + SMALLEST // 2, height)
        strip = ops.convert_to_tensor(read(slice(top, bottom), slice(0, width)))
        means = ops.convert_to_numpy(log_power_means(strip, rows)).astype(np.float64)
        sides = [(bottom - top >> scale, width >> scale) for scale in range(SCALES)]
        found = [min(rows >> s, high - 1) * (wide - 1) for s, (high, wide) in enumerate(sides)]
        count = np.repeat(found, len(POWERS))
        sums, counts = np.logaddexp(sums, powers * means + np.log(count)), counts + count
    return ((sums - np.log(counts)) / powers).astype(np.float32)
