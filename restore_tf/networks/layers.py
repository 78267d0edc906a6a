"""What several networks and losses share: blocks, and resizing in keras.ops for any size.

SRN was trained with TensorFlow 1's `tf.image.resize_images(..., BILINEAR, align_corners=False)`,
where output pixel j samples the input at j * scale, without the half-pixel offset that
`tf.image.resize` and `keras.layers.Resizing` use today. With today's resize the published weights
are off by 7.9 on an output range of 11.6, so the old one is written out here. For powers of two
it needs no interpolation table: slices and one mean.
"""

from keras import layers, ops

_BLOCK = 16  # of running sums: 8 and 32 are slower


class Block(layers.Layer):
    """A layer made of layers, without weights of its own.

    It counts as built from the start: its parts build themselves when they are first called. Keras
    would otherwise trace every block symbolically before calling it, every block inside it again,
    and so on, twice as often at every level: minutes for MPRNet.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.built = True


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
    following, last = _after(images, axis), _last(images, axis)
    between = 0.5 * (images + ops.concatenate([following, last], axis=axis))
    return _interleave(images, between, axis)


def upsample2(images):
    """Bilinear resize to twice the size with half-pixel centres, edges clamped.

    Today's convention, `tf.image.resize` and PyTorch's `align_corners=False`: along each axis,
    outputs are 3/4 of the nearest input and 1/4 of the next.

    Args:
      images: (batch, h, w, channels).

    Returns:
      (batch, 2 h, 2 w, channels).
    """
    for axis in (1, 2):
        before = ops.concatenate([_first(images, axis), _before(images, axis)], axis=axis)
        after = ops.concatenate([_after(images, axis), _last(images, axis)], axis=axis)
        near = 0.75 * images
        images = _interleave(near + 0.25 * before, near + 0.25 * after, axis)
    return images


def running_sum(x, axis):
    """The running (cumulative) sum along the height or the width.

    `ops.cumsum` runs on one core without vectors on TensorFlow's CPU: 5 times slower than this, a
    product with a triangle of ones in blocks and the running sum of the blocks' totals.

    Args:
      x: (batch, h, w, channels); the side may be 0.
      axis: 1 (height) or 2 (width).

    Returns:
      The sums, of x's shape.
    """
    batch, height, width, channels = ops.shape(x)
    size = ops.shape(x)[axis]
    if isinstance(size, int) and size == 0:
        return x
    blocks = (size + _BLOCK - 1) // _BLOCK
    padding = [(0, 0)] * 4
    padding[axis] = (0, blocks * _BLOCK - size)
    outer, inner = (batch, width * channels) if axis == 1 else (batch * height, channels)
    sums = ops.reshape(ops.pad(x, padding), (outer, blocks, _BLOCK, inner))
    sums = ops.matmul(ops.tri(_BLOCK, dtype=x.dtype), sums)
    totals = sums[:, :, -1:]
    sums = sums + (ops.cumsum(totals, axis=1) - totals)
    if axis == 1:
        return ops.reshape(sums, (batch, blocks * _BLOCK, width, channels))[:, :size]
    return ops.reshape(sums, (batch, height, blocks * _BLOCK, channels))[:, :, :size]


def _interleave(even, odd, axis):
    # Stacking behind the axis and folding the pair into it puts the two in turn.
    pairs = ops.stack([even, odd], axis=axis + 1)
    _, height, width, channels = ops.shape(even)
    if axis == 1:
        return ops.reshape(pairs, (-1, 2 * height, width, channels))
    return ops.reshape(pairs, (-1, height, 2 * width, channels))


def _first(x, axis):
    return x[:, :1] if axis == 1 else x[:, :, :1]


def _last(x, axis):
    return x[:, -1:] if axis == 1 else x[:, :, -1:]


def _before(x, axis):
    return x[:, :-1] if axis == 1 else x[:, :, :-1]


def _after(x, axis):
    return x[:, 1:] if axis == 1 else x[:, :, 1:]
