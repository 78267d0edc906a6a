"""A web application around networks that are known by hand, without TensorFlow."""

import io
import threading

import numpy as np
from PIL import Image

from restore_tf.app import models, service
from restore_tf.app.limits import Limits
from restore_tf.errors import UserError
from restore_tf.networks.tiler import BlendedTile


class Inverting:
    """1 - image, so 255 - pixel; stands in for a `Restorer`.

    Attributes:
      started: set when it computes.
      go_on: it waits for this where a picture's first pixel is black.
    """

    channels, size, size_multiple, padding, output_scale = 3, None, 1, "edge", 1
    colour, bytes_per_pixel, name, links = "rgb", 100.0, "inverting", ()
    blended_tile = BlendedTile()

    def __init__(self):
        self.started, self.go_on, self.most = threading.Event(), threading.Event(), 0
        self._now = 0

    def tiler(self):
        """Blended tiles."""

    def restore_padded(self, images, seed=0, origins=None):
        """Inverts."""
        self._now += 1
        self.most = max(self.most, self._now)
        self.started.set()
        if images[0, 0, 0].max() == 0:
            assert self.go_on.wait(30)
        self._now -= 1
        return 1 - images


class Doubling(Inverting):
    """Twice as large."""

    output_scale, name = 2, "doubling"

    def restore_padded(self, images, seed=0, origins=None):
        """Repeats pixels."""
        return images.repeat(2, axis=1).repeat(2, axis=2)


def catalogue(*networks):
    """Returns a catalogue of networks, `Inverting` and `Doubling` by default."""

    def entry(network):
        def load(stages):
            if stages is not None:
                raise UserError(f"stages {stages}: {network.name} has no stages.")
            return network

        return models.Entry(network.name, "run", "a toy", load)

    return models.Catalogue(map(entry, networks or (Inverting(), Doubling())))


def make(*networks, **limits):
    """Returns a `Service` with small limits."""
    chosen = {"bytes": 10**6, "pixels": 10**5, "queue": 2, "seconds_to_send": 5.0} | limits
    return service.make(catalogue(*networks), Limits(**chosen))


def pixels(height=8, width=12, seed=0):
    """Returns (height, width, 3) uint8, nothing of it black."""
    return np.random.default_rng(seed).integers(1, 256, (height, width, 3), np.uint8)


def png(values, **options):
    """Returns pixels as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG", **options)
    return buffer.getvalue()


def decoded(file):
    """Returns a file's pixels."""
    return np.asarray(Image.open(io.BytesIO(file)))
