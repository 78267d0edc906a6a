"""Restores the picture of one request, from file to file, as `restore.py` does."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from pathlib import Path

import numpy as np

from restore_tf.app.limits import Limits
from restore_tf.app.line import Place
from restore_tf.app.models import Catalogue
from restore_tf.app.refusals import BadPicture, Refusal, TooLarge
from restore_tf.errors import UserError
from restore_tf.inference.memory import memory_limit
from restore_tf.inference.restore import restore
from restore_tf.pictures import files, hidden
from restore_tf.pictures.decoding import Picture, TooManyPixels
from restore_tf.system import log

NAME = "the picture"  # in messages, which do not repeat the request's own file name


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of a request; see `restore.py --help`.

    Attributes:
      model: a name in the catalogue; None for its default.
      strength: 1 for the restored picture, 0 for the unchanged one.
      stages: number of stages to run; None for all.
      ensemble: mean over eight flips and rotations.
      seed: of a sampler's noise.
      format: an ending without its dot; None for the picture's own format.
      jpeg_quality: of JPEG and WebP, 1 to 100.
    """

    model: str | None = None
    strength: float = 1.0
    stages: int | None = None
    ensemble: bool = False
    seed: int = 0
    format: str | None = None
    jpeg_quality: int = files.JPEG_QUALITY


@dataclasses.dataclass(frozen=True)
class Result:
    """A restored picture.

    Attributes:
      before: the degraded picture.
      pixels: the restored pixels, of the same type.
      file: content of the restored picture's file.
      ending: of the file's name, with its dot.
      warnings: a line for each conversion or loss.
      seconds: the network's time.
    """

    before: Picture
    pixels: np.ndarray
    file: bytes
    ending: str
    warnings: tuple[str, ...]
    seconds: float


class Restoring:
    """Restores pictures within the limits. Thread-safe."""

    def __init__(self, catalogue: Catalogue, limits: Limits):
        """Makes a restorer of these networks."""
        self.catalogue, self.limits = catalogue, limits

    def file(self, source: Path | bytes, options: Options, place: Place) -> Result:
        """Restores a file, when it is the place's turn.

        Args:
          source: its path or its content.
          options: the request's.
          place: gets the progress, and can cancel the work.

        Raises:
          Refusal: unknown network, not a picture, too large, or options that do not fit.
          Cancelled: the place was cancelled.
        """
        with log.collected() as warnings, refusing(NAME):
            picture = self.read(source)
            pixels, seconds = self.pixels(picture, options, place)
            file, ending = files.encode_restored(
                picture, pixels, options.format, options.jpeg_quality, NAME
            )
        return Result(picture, pixels, file, ending, tuple(warnings), seconds)

    def read(self, source: Path | bytes) -> Picture:
        """Reads a picture within the limits.

        Args:
          source: the file's path or its content.

        Raises:
          TooLarge: too many pixels.
          UserError: not a picture.
        """
        try:
            return files.read_picture(source, self.limits.pixels, NAME)
        except TooManyPixels:
            raise TooLarge(
                f"{NAME}: has more than {self.limits.pixels / 1e6:g} million pixels, the limit of "
                "this server."
            ) from None

    def pixels(self, picture: Picture, options: Options, place: Place) -> tuple[np.ndarray, float]:
        """Restores a picture's pixels.

        Args:
          picture: within the limits.
          options: the request's.
          place: gets the progress, and can cancel the work.

        Returns:
          The restored pixels, of the picture's type, and the network's seconds.

        Raises:
          UserError: unknown network, or options that do not fit it.
          Cancelled: the place was cancelled.
        """
        function, loaded = self.function(options, place)
        area = picture.pixels.shape[0] * picture.pixels.shape[1]
        if loaded.seconds_per_pixel is not None:
            place.expected = loaded.seconds_per_pixel * area * (8 if options.ensemble else 1)
        place.check()
        started = time.perf_counter()
        restored = hidden.restore(function, picture.pixels, picture.alpha)
        seconds = time.perf_counter() - started
        loaded.seconds_per_pixel = seconds / area / (8 if options.ensemble else 1)
        return restored, seconds

    def function(self, options: Options, place: Place, progress: bool = True):
        """Returns a function that restores pixels, and the network's `Loaded`.

        Args:
          options: the request's.
          place: gets the progress, and can cancel the work.
          progress: report each picture's progress; otherwise only check for cancellation.
        """
        loaded = self.catalogue.load(options.model, options.stages)
        report = place.progress if progress else lambda done, total: place.check()

        def restore_pixels(pixels):
            with loaded.lock or contextlib.nullcontext():
                return restore(
                    loaded.model,
                    pixels,
                    memory=self._memory(loaded.model),
                    strength=options.strength,
                    ensemble=options.ensemble,
                    seed=options.seed,
                    progress=report,
                )

        return restore_pixels, loaded

    def _memory(self, model):
        """The memory limit of a computation: its share if several run at once."""
        if model.size is not None or self.limits.concurrency == 1:
            return self.limits.memory if model.size is None else None
        import psutil

        share = memory_limit(self.limits.memory) // self.limits.concurrency
        return psutil.Process().memory_info().rss + share


@contextlib.contextmanager
def refusing(name: str):
    """Turns a file's errors into refusals that name it.

    Args:
      name: of the file, as messages call it.

    Raises:
      Refusal: in place of the block's `UserError` or `MemoryError`.
    """
    try:
        yield
    except Refusal:
        raise
    except MemoryError:
        raise TooLarge(f"{name}: does not fit into this machine's memory.") from None
    except UserError as error:
        text = str(error)
        raise BadPicture(text if text.startswith(name) else f"{name}: {text}") from None
