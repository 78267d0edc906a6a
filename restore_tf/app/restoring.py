"""From a picture's file to the restored one's file: as `restore.py` does it, for one request."""

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

NAME = "the picture"  # in messages: what a request calls its file is not repeated


@dataclasses.dataclass(frozen=True)
class Options:
    """What a request decides; see `restore.py --help`.

    Attributes:
      model: a name of the catalogue; None for its default.
      strength: 1 for the restored picture, 0 for the picture itself.
      stages: of a network of several; None for all.
      ensemble: mean over eight flips and rotations.
      seed: of what a network draws.
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
      pixels: the restored ones, of its type.
      file: the restored picture's file.
      ending: of the file's name, with its dot.
      warnings: what was converted or could not be kept, a line each.
      seconds: the network took.
    """

    before: Picture
    pixels: np.ndarray
    file: bytes
    ending: str
    warnings: tuple[str, ...]
    seconds: float


class Restoring:
    """Restores pictures within the limits. May be used by many threads."""

    def __init__(self, catalogue: Catalogue, limits: Limits):
        """Keeps both."""
        self.catalogue, self.limits = catalogue, limits

    def file(self, source: Path | bytes, options: Options, place: Place) -> Result:
        """Restores a file. Called where it is the place's turn.

        Args:
          source: its path, or what is in it.
          options: what the request decides.
          place: is told of progress, and asked whether to go on.

        Raises:
          Refusal: no such network, no picture, too large a one, options that do not fit it.
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

        Raises:
          TooLarge: more pixels than are taken.
          UserError: no picture.
        """
        try:
            return files.read_picture(source, self.limits.pixels, NAME)
        except TooManyPixels:
            raise TooLarge(
                f"{NAME}: has more than {self.limits.pixels / 1e6:g} million pixels, which is the "
                "most that is taken here."
            ) from None

    def pixels(self, picture: Picture, options: Options, place: Place) -> tuple[np.ndarray, float]:
        """Returns a picture's restored pixels, and the seconds that the network took."""
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
        """Returns what turns pixels into restored ones, and the network's `Loaded`.

        Args:
          progress: tell the place how far each picture is; without it only ask whether to go on.
        """
        loaded = self.catalogue.load(options.model, options.stages)
        report = place.progress if progress else lambda done, total: place.check()

        def run(pixels):
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

        return run, loaded

    def _memory(self, model):
        """The memory that a computation may take: its share where several run at once."""
        if model.size is not None or self.limits.concurrency == 1:
            return self.limits.memory if model.size is None else None
        import psutil

        share = memory_limit(self.limits.memory) // self.limits.concurrency
        return psutil.Process().memory_info().rss + share


@contextlib.contextmanager
def refusing(name: str):
    """Turns a file's errors into refusals that name it."""
    try:
        yield
    except Refusal:
        raise
    except MemoryError:
        raise TooLarge(f"{name}: does not fit into this machine's memory.") from None
    except UserError as error:
        text = str(error)
        raise BadPicture(text if text.startswith(name) else f"{name}: {text}") from None
