"""Resizing that several networks and losses share, in keras.ops, for any height and width.

SRN was trained with TensorFlow 1's `tf.image.resize_images(..., BILINEAR, align_corners=False)`,
where output pixel j samples the input at j * scale, without the half-pixel offset that
`tf.image.resize` and `keras.layers.Resizing` use today. With today's resize the published weights
are off by 7.9 on an output range of 11.6, so the old one is written out here. For powers of two
it needs no interpolation table: slices and one mean.
"""

from keras import ops


def legacy_downsample(images, factor):
    """TF1's bilinear resize to 1/factor: plain subsampling.

    Args:
      images: (batch, height, width, channels); height and width multiples of `factor`.
      factor: a power of two.

    Returns:
      (batch, height / factor, width / factor, channels).
    """
    return images if factor == 1 else images[:, ::factor, ::factor]


def legacy_upsample2(images):
    """TF1's bilinear resize to twice the size: (batch, h, w, c) -> (batch, 2 h, 2 w, c).

    Even outputs copy the input, odd outputs are the mean of two neighbours, the last one is a copy.
    """
    return _double(_double(images, axis=1), axis=2)


def _double(images, axis):
    following = images[:, 1:] if axis == 1 else images[:, :, 1:]
    last = images[:, -1:] if axis == 1 else images[:, :, -1:]
    between = 0.5 * (images + ops.concatenate([following, last], axis=axis))
    # Stacking behind the axis and folding the pair into it interleaves copies and means.
    pairs = ops.stack([images, between], axis=axis + 1)
    _, height, width, channels = ops.shape(images)
    if axis == 1:
        return ops.reshape(pairs, (-1, 2 * height, width, channels))
    return ops.reshape(pairs, (-1, height, 2 * width, channels))
