"""Blocks, and resizing in keras.ops for any size, that several networks and losses share.

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
    """TF1's bilinear resize to twice the size.

    Even outputs copy the input, odd outputs are the mean of two neighbours, the last one is a copy.

    Args:
      images: (batch, h, w, channels).

    Returns:
      (batch, 2 h, 2 w, channels).
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


def upsample(images, factor):
    """Bilinear resize to `factor` times the size with half-pixel centres, edges clamped.

    Straight from the source: four times is not twice twice.

    Args:
      images: (batch, h, w, channels).
      factor: an even number.

    Returns:
      (batch, factor * h, factor * w, channels).
    """
    batch = images.shape[0]
    _, height, width, channels = ops.shape(images)
    # Columns first: the last step then interleaves long rows.
    images = ops.stack(_phases(images, factor, 2), axis=3)
    images = ops.reshape(images, (batch or -1, height, factor * width, channels))
    images = ops.stack(_phases(images, factor, 1), axis=2)
    return ops.reshape(images, (batch or -1, factor * height, factor * width, channels))


def _phases(images, factor, axis):
    """The `factor` images whose interleaved rows or columns make the larger one."""
    padding = [(0, 0)] * 4
    padding[axis] = (1, 1)
    padded = ops.pad(images, padding, mode="symmetric")  # one row at each end: a copy of the edge
    before, after = (
        (padded[:, :-2], padded[:, 2:]) if axis == 1 else (padded[:, :, :-2], padded[:, :, 2:])
    )
    phases = []
    for phase in range(factor):
        offset = (phase + 0.5) / factor - 0.5  # of its centre from the nearest input's
        other = before if offset < 0 else after
        phases.append((1 - abs(offset)) * images + abs(offset) * other)
    return phases


def antialiased_downsample(images, factor):
    """Bilinear resize to 1/factor with half-pixel centres and antialiasing.

    As `tf.image.resize(..., antialias=True)` and `jax.image.resize`: a triangle of twice the
    factor's width, along each axis 1 3 3 1 (/ 8) for 2 and 1 3 5 7 7 5 3 1 (/ 32) for 4. Taps
    outside of the picture are dropped, and the others divided by their sum.

    Args:
      images: (batch, height, width, channels); height and width multiples of `factor`.
      factor: 2 or 4.

    Returns:
      (batch, height / factor, width / factor, channels).
    """
    rising = [2 * tap + 1 for tap in range(factor)]
    taps = ops.array(rising + rising[::-1], dtype=images.dtype) / (2 * factor**2)
    kernel = ops.tile((taps[:, None] * taps)[:, :, None, None], (1, 1, images.shape[-1], 1))
    images = ops.depthwise_conv(images, kernel, factor, "same")  # zeros outside
    _, height, width, _ = ops.shape(images)
    rows, columns = (_inside(side, images.dtype) for side in (height, width))
    return images / (rows[:, None, None] * columns[:, None])


def _inside(side, dtype):
    """Sum of the taps inside of the picture: the first and the last output lack an eighth each."""
    places = ops.arange(side, dtype="int32")
    lacking = ops.cast(places == 0, dtype) + ops.cast(places == side - 1, dtype)
    return 1 - lacking / 8


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


def pad_edges(images, pixels):
    """Repeats the outermost rows and columns: (b, h, w, c) -> (b, h + 2 pixels, w + 2 pixels, c).

    What `numpy.pad` calls "edge" and MATLAB's `imfilter` "replicate".

    Args:
      images: (batch, h, w, channels).
      pixels: how many rows and columns are put at each side.
    """
    if not pixels:
        return images
    for axis in (1, 2):
        before, after = [_first(images, axis)] * pixels, [_last(images, axis)] * pixels
        images = ops.concatenate([*before, images, *after], axis=axis)
    return images


def _interleave(even, odd, axis):
    # Stacking behind the axis and folding the pair into it interleaves the two.
    pairs = ops.stack([even, odd], axis=axis + 1)
    _, height, width, channels = ops.shape(even)
    if axis == 1:
        return ops.reshape(pairs, (even.shape[0] or -1, 2 * height, width, channels))
    return ops.reshape(pairs, (even.shape[0] or -1, height, 2 * width, channels))


def _first(x, axis):
    return x[:, :1] if axis == 1 else x[:, :, :1]


def _last(x, axis):
    return x[:, -1:] if axis == 1 else x[:, :, -1:]


def _before(x, axis):
    return x[:, :-1] if axis == 1 else x[:, :, :-1]


def _after(x, axis):
    return x[:, 1:] if axis == 1 else x[:, :, 1:]
