"""The parts of generators and discriminators: convolutions, norms and residual blocks.

Conventions that cause most bugs:
- A strided convolution pads all four sides alike, as PyTorch does. Keras' "same" pads bottom and
  right alone: shifted by a pixel.
- A norm takes each picture's own statistics, in training and at inference alike.
"""

from __future__ import annotations

from keras import initializers, layers, ops

from restore_tf.networks.layers import Block

EPSILON = 1e-5  # of the norms' variances, PyTorch's


def drawn(deviation):
    """Returns a new initializer of normal numbers, which follows the training's seed.

    Args:
      deviation: standard deviation.
    """
    return initializers.RandomNormal(stddev=deviation)


class PictureNorm(layers.Layer):
    """Norm by each picture's and channel's own mean and population variance.

    Without `affine` this is instance norm. With it, it is batch norm as the authors run it: with
    batches of one picture, and never by running statistics. Computed in float32.

    Args:
      affine: whether a scale and a shift for each channel follow.
      epsilon: added to the variance.
    """

    def __init__(self, affine=False, epsilon=EPSILON, **kwargs):
        super().__init__(**kwargs)
        self._affine, self._epsilon = affine, epsilon

    def build(self, input_shape):
        """Makes scale and shift for inputs of (batch, height, width, channels), with `affine`."""
        if self._affine:
            shape = (input_shape[-1],)
            self.gamma = self.add_weight(shape, "ones", name="gamma", autocast=False)
            self.beta = self.add_weight(shape, "zeros", name="beta", autocast=False)

    def call(self, x):
        """(batch, height, width, channels) -> the same shape."""
        values = ops.cast(x, "float32")  # 16 bits would round the sums
        centred = values - _mean(values)
        variance = _mean(ops.square(centred))
        scale = ops.rsqrt(variance + self._epsilon)
        if not self._affine:
            return ops.cast(centred * scale, x.dtype)
        return ops.cast(centred * (scale * self.gamma) + self.beta, x.dtype)


def _mean(x):
    """Mean over height and width: rows, then their means.

    All at once TensorFlow adds the pixels up one after another, and the sum's rounding is ten times
    as large: 6e-5 of the range in DeblurGAN-v2's picture.
    """
    return ops.mean(ops.mean(x, axis=2, keepdims=True), axis=1, keepdims=True)


class PaddedConv(Block):
    """Convolution after zeros on all four sides.

    Args:
      filters: output channels.
      kernel_size: side of the kernel in pixels.
      strides: in pixels.
      padding: pixels of zeros at each side; None for half the kernel.
      ends: "all" pads every side alike, as PyTorch's `padding` does; "late" is Keras' "same".
      name: of the layer.
      **kw: Conv2D's.
    """

    def __init__(self, filters, kernel_size, strides=1, padding=None, ends="all", name=None, **kw):
        super().__init__(name=name)
        self._padding = kernel_size // 2 if padding is None else padding
        kept = strides == 1 and 2 * self._padding + 1 == kernel_size
        self._ours = ends == "all" and not kept
        how = "valid" if self._ours else "same"
        self.conv = layers.Conv2D(filters, kernel_size, strides, how, name="conv", **kw)

    def call(self, x):
        """(batch, height, width, channels) -> (batch, height', width', filters)."""
        return self.conv(pad_zeros(x, self._padding) if self._ours else x)


def pad_zeros(images, pixels):
    """Pads images with zeros at all four sides.

    Args:
      images: (b, h, w, c).
      pixels: at each side.

    Returns:
      (b, h + 2 pixels, w + 2 pixels, c).
    """
    return ops.pad(images, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)))


def reflect(images, pixels):
    """Mirrors images at their outermost pixels.

    As `numpy.pad` does: an axis of one pixel repeats it. TensorFlow's own padding refuses such an
    axis.

    Args:
      images: (b, h, w, c).
      pixels: at each side; more than 1 only where the images are larger.

    Returns:
      (b, h + 2 pixels, w + 2 pixels, c).
    """
    if pixels > 1:  # where pictures are known to be large enough
        sides = ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0))
        return ops.pad(images, sides, mode="reflect")
    images = ops.concatenate([images[:, :2][:, -1:], images, images[:, -2:][:, :1]], axis=1)
    first, last = images[:, :, :2][:, :, -1:], images[:, :, -2:][:, :, :1]
    return ops.concatenate([first, images, last], axis=2)


def nearest(images, factor):
    """Enlarges images by repeating pixels.

    Args:
      images: (b, h, w, c).
      factor: a whole number.

    Returns:
      (b, factor h, factor w, c).
    """
    _, height, width, channels = ops.shape(images)
    # `ops.repeat` would leave the channels unknown where sizes are, and TFLite needs them.
    images = ops.reshape(
        ops.stack([images] * factor, axis=3), (-1, height, factor * width, channels)
    )
    images = ops.stack([images] * factor, axis=2)
    return ops.reshape(images, (-1, factor * height, factor * width, channels))


class ResBlock(Block):
    """Two reflected 3x3 convolutions with instance norms around a ReLU, plus the input.

    Args:
      filters: channels in and out.
    """

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.conv1 = layers.Conv2D(filters, 3, name="conv1")
        self.norm1 = PictureNorm(name="norm1")
        self.conv2 = layers.Conv2D(filters, 3, name="conv2")
        self.norm2 = PictureNorm(name="norm2")

    def call(self, x, dropout=None):
        """Two convolutions, plus the input.

        Args:
          x: (batch, height, width, filters).
          dropout: function of features that drops some; None for none.

        Returns:
          Of x's shape.
        """
        inner = ops.relu(self.norm1(self.conv1(reflect(x, 1))))
        if dropout is not None:
            inner = dropout(inner)
        return x + self.norm2(self.conv2(reflect(inner, 1)))


class ConvNormReLU(Block):
    """3x3 convolution, instance norm, ReLU.

    Args:
      filters: output channels.
      strides: in pixels.
    """

    def __init__(self, filters, strides=1, **kwargs):
        super().__init__(**kwargs)
        self.conv = PaddedConv(filters, 3, strides, name="padded")
        self.norm = PictureNorm(name="norm")

    def call(self, x):
        """(batch, h, w, channels) -> (batch, h / strides, w / strides, filters)."""
        return ops.relu(self.norm(self.conv(x)))


class UpNormReLU(Block):
    """Transposed 3x3 convolution to twice the size, instance norm, ReLU.

    PyTorch's `padding=1, output_padding=1` is Keras' "valid" without the first row and column.

    Args:
      filters: output channels.
    """

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.conv = layers.Conv2DTranspose(filters, 3, 2, "valid", name="conv")
        self.norm = PictureNorm(name="norm")

    def call(self, x):
        """(batch, height, width, channels) -> (batch, 2 height, 2 width, filters)."""
        return ops.relu(self.norm(self.conv(x)[:, 1:, 1:]))
