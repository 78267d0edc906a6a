"""The blocks of MPRNet, named as in the paper (Zamir et al., CVPR 2021, arXiv 2102.02808).

All convolutions are without bias. Widths of the three levels of an encoder or decoder are listed
finest first. One PReLU serves the whole network: every block takes it as an argument.

`window` is the (height, width) in pixels of the sliding mean that replaces the global one of
channel attention at test time (TLC, Chu et al., ECCV 2022), None for the paper's global mean.
"""

from __future__ import annotations

from keras import ops

from mprnet_tf.attention import CAB, convolution, halved
from restore_tf.networks.layers import Block, upsample2


class ShallowFeatures(Block):
    """The start of every stage: a convolution from image to features, then a CAB."""

    def __init__(self, filters, reduction, prelu, window=None, **kwargs):
        super().__init__(**kwargs)
        self.conv = convolution(filters, "conv")
        self.cab = CAB(filters, reduction, prelu, window, name="cab")

    def call(self, images):
        """(batch, h, w, 3) -> (batch, h, w, filters)."""
        return self.cab(self.conv(images))


class Down(Block):
    """Bilinear x1/2, which is the mean of each 2x2 block, then a 1x1 convolution."""

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.conv = convolution(filters, "conv", 1)

    def call(self, x):
        """(batch, h, w, any) -> (batch, h / 2, w / 2, filters)."""
        return self.conv(ops.average_pool(x, 2, 2))


class Up(Block):
    """Bilinear x2 and a 1x1 convolution.

    The convolution is done first: both are linear, so the order does not matter, and a quarter of
    the pixels costs a quarter of the time.
    """

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.conv = convolution(filters, "conv", 1)

    def call(self, x, resize=True):
        """Convolves and enlarges.

        Args:
          x: (batch, h, w, any).
          resize: enlarge; without it the size stays.

        Returns:
          (batch, 2 h, 2 w, filters), or (batch, h, w, filters) without `resize`.
        """
        x = self.conv(x)
        return upsample2(x) if resize else x


class Encoder(Block):
    """Encoder of an encoder-decoder subnetwork (figure 3a): three levels of two CABs.

    Args:
      widths: filters of the three levels, finest first.
      reduction: of the channel attentions.
      prelu: the network's PReLU.
      fusion: whether it takes the features of the stage before (cross-stage feature fusion, CSFF,
        figure 3c).
      window: of the finest level's attentions; each level below halves it.
    """

    def __init__(self, widths, reduction, prelu, fusion=False, window=None, **kwargs):
        super().__init__(**kwargs)
        self.levels, self.downs = [], []
        self.fuse_encoder, self.fuse_decoder = [], []
        for level, width in enumerate(widths):
            self.levels.append(
                [CAB(width, reduction, prelu, window, name=f"level{level}_cab{i}") for i in (0, 1)]
            )
            if level:
                self.downs.append(Down(width, name=f"down{level}"))
            if fusion:
                self.fuse_encoder.append(convolution(width, f"fuse_encoder{level}", 1))
                self.fuse_decoder.append(convolution(width, f"fuse_decoder{level}", 1))
            window = halved(window)

    def call(self, x, encoded=None, decoded=None):
        """Encodes features at three levels.

        Args:
          x: (batch, h, w, widths[0]).
          encoded: the previous stage's encoder features, finest first; None without fusion.
          decoded: the previous stage's decoder features, finest first; None without fusion.

        Returns:
          Three levels, finest first: (batch, h / 2^i, w / 2^i, widths[i]).
        """
        features = []
        for level, cabs in enumerate(self.levels):
            if level:
                x = self.downs[level - 1](x)
            for cab in cabs:
                x = cab(x)
            if encoded is not None:
                x = x + self.fuse_encoder[level](encoded[level])
                x = x + self.fuse_decoder[level](decoded[level])
            features.append(x)
        return features


class Decoder(Block):
    """Decoder of an encoder-decoder subnetwork (figure 3a), with a CAB on every skip connection.

    Its arguments are those of `Encoder`.
    """

    def __init__(self, widths, reduction, prelu, window=None, **kwargs):
        super().__init__(**kwargs)
        self.levels, self.skips, self.ups = [], [], []
        for level, width in enumerate(widths):
            self.levels.append(
                [CAB(width, reduction, prelu, window, name=f"level{level}_cab{i}") for i in (0, 1)]
            )
            if level + 1 < len(widths):
                self.skips.append(CAB(width, reduction, prelu, window, name=f"skip{level}"))
                self.ups.append(Up(width, name=f"up{level}"))
            window = halved(window)

    def call(self, encoded):
        """Three levels, finest first, (batch, h / 2^i, w / 2^i, widths[i]) -> the same shapes."""
        decoded = []
        for level in reversed(range(len(self.levels))):
            if decoded:
                x = self.ups[level](decoded[0]) + self.skips[level](encoded[level])
            else:
                x = encoded[level]
            for cab in self.levels[level]:
                x = cab(x)
            decoded.insert(0, x)
        return decoded


class SAM(Block):
    """Supervised attention module (figure 4): a restored image, and features that it gates.

    All convolutions are 1x1, as in the published weights.

    Args:
      filters: width of the features.
      channels: image channels.
      image_only: build only the convolution of the image, which an early exit needs.
    """

    def __init__(self, filters, channels, image_only=False, **kwargs):
        # Images are taken and made in float32, under mixed precision too.
        super().__init__(autocast=False, **kwargs)
        self.conv_image = convolution(channels, "conv_image", 1, dtype="float32")
        if not image_only:
            self.conv_features = convolution(filters, "conv_features", 1)
            self.conv_gate = convolution(filters, "conv_gate", 1)

    def call(self, features, images):
        """Restores the image and gates the features by it.

        Args:
          features: (batch, h, w, filters).
          images: the stage's input, (batch, h, w, channels).

        Returns:
          Gated features and the stage's restored image, of the same shapes.
        """
        restored = self.restore(features, images)
        gate = ops.sigmoid(self.conv_gate(restored))
        return self.conv_features(features) * gate + features, restored

    def restore(self, features, images):
        """Returns the restored image alone, for an early exit: (batch, h, w, channels).

        Args:
          features: (batch, h, w, filters).
          images: the stage's input, (batch, h, w, channels).
        """
        return self.conv_image(features) + images


class ORB(Block):
    """Original-resolution block (figure 3b): CABs, a convolution, plus the input."""

    def __init__(self, filters, reduction, prelu, num_cab, window=None, **kwargs):
        super().__init__(**kwargs)
        self.cabs = [CAB(filters, reduction, prelu, window, name=f"cab{i}") for i in range(num_cab)]
        self.conv = convolution(filters, "conv")

    def call(self, x):
        """(batch, h, w, filters) -> the same shape."""
        residual = x
        for cab in self.cabs:
            residual = cab(residual)
        return x + self.conv(residual)


class ORSNet(Block):
    """Original-resolution subnetwork (section 3.1): three ORBs, each followed by a fusion.

    Args:
      widths: the encoder-decoder's three levels, finest first.
      filters: width of this subnetwork.
      reduction: as `Encoder`'s.
      prelu: as `Encoder`'s.
      window: as `Encoder`'s.
      num_cab: CABs in each ORB.
    """

    def __init__(self, widths, filters, reduction, prelu, num_cab, window=None, **kwargs):
        super().__init__(**kwargs)
        self.orbs = [
            ORB(filters, reduction, prelu, num_cab, window, name=f"orb{i}") for i in range(3)
        ]
        # Level i goes up i times, through narrower and narrower levels, each through weights of
        # its own.
        self.ups_encoder = [_ups(widths, level, "encoder") for level in range(3)]
        self.ups_decoder = [_ups(widths, level, "decoder") for level in range(3)]
        self.fuse_encoder = [convolution(filters, f"fuse_encoder{i}", 1) for i in range(3)]
        self.fuse_decoder = [convolution(filters, f"fuse_decoder{i}", 1) for i in range(3)]

    def call(self, x, encoded, decoded):
        """Refines features at full resolution.

        Args:
          x: (batch, h, w, filters).
          encoded: the previous stage's encoder features, finest first.
          decoded: the previous stage's decoder features, finest first.

        Returns:
          Of x's shape.
        """
        for level, orb in enumerate(self.orbs):
            # Resizing and 1x1 convolutions are linear: features are convolved, fused and summed at
            # their own size and brought up once, at a fraction of the time and memory.
            features = self.fuse_encoder[level](
                _convolved(self.ups_encoder[level], encoded[level])
            ) + self.fuse_decoder[level](_convolved(self.ups_decoder[level], decoded[level]))
            for _ in range(level):
                features = upsample2(features)
            x = orb(x) + features
        return x


def _ups(widths, level, side):
    return [Up(widths[i], name=f"up_{side}{level}_{i}") for i in reversed(range(level))]


def _convolved(ups, x):
    for up in ups:
        x = up(x, resize=False)
    return x
