"""A convolution with batch normalisation, which is one convolution once it is trained.

Ioffe and Szegedy, "Batch Normalization", ICML 2015 (arXiv 1502.03167). In training the features are
normalised by the mean and variance of the batch. For restoring they are normalised by running
averages of these, which are constants: scale and shift go into the kernel and the bias, with
k = gamma / sqrt(variance + epsilon),

    kernel' = kernel * k        bias' = (bias - mean) * k + beta

so that no normalisation is left in what restores, in SavedModels and in TFLite files.
"""

from __future__ import annotations

from keras import layers, ops


class NormalisedConv(layers.Layer):
    """A convolution of stride 1, zero padding, and the batch normalisation behind it.

    Args:
      filters: of the convolution.
      kernel_size: its side in pixels, an odd number.
      use_bias: whether it has a bias of its own. Normalisation takes any bias away again, so that
        it changes nothing in training; some published weights have one.
      momentum: share of the running averages that stays at each step.
      epsilon: what is added to the variance.
      kernel_initializer: as Keras'.
    """

    def __init__(
        self,
        filters,
        kernel_size=3,
        use_bias=False,
        momentum=0.9,
        epsilon=1e-5,
        kernel_initializer="he_normal",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.conv = layers.Conv2D(
            filters,
            kernel_size,
            padding="same",
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            name="conv",
        )
        self.norm = layers.BatchNormalization(momentum=momentum, epsilon=epsilon, name="norm")

    def build(self, input_shape):
        """Builds both layers for inputs of (batch, h, w, any)."""
        self.conv.build(input_shape)
        self.norm.build((*input_shape[:-1], self.conv.filters))

    def call(self, x, training=False):
        """Convolves and normalises.

        Args:
          x: (batch, h, w, any).
          training: normalise by the batch's statistics, not by the running averages.

        Returns:
          (batch, h, w, filters).
        """
        if training:
            return self.norm(self.conv(x), training=True)
        kernel, bias = self.merged()
        return ops.conv(x, ops.cast(kernel, x.dtype), padding="same") + ops.cast(bias, x.dtype)

    def merged(self):
        """Returns (kernel, bias) of the one convolution that equals both layers when restoring."""
        scale = self.norm.gamma / ops.sqrt(self.norm.moving_variance + self.norm.epsilon)
        shift = (
            self.norm.moving_mean
            if self.conv.bias is None
            else (self.norm.moving_mean - self.conv.bias)
        )
        return self.conv.kernel * scale, self.norm.beta - shift * scale

    def compute_output_shape(self, input_shape):
        """(batch, h, w, any) -> (batch, h, w, filters)."""
        return (*input_shape[:-1], self.conv.filters)
