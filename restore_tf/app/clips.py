"""Short clips, restored as by `restore.py`, within limits."""

from __future__ import annotations

from pathlib import Path

from restore_tf.app.line import Place
from restore_tf.app.refusals import BadPicture, TooLarge
from restore_tf.app.restoring import Options, refusing
from restore_tf.app.service import Service
from restore_tf.errors import UserError
from restore_tf.system import log

NAME = "the video"
OUTPUT = ".mp4"


def restore(
    service: Service, source: Path, options: Options, place: Place
) -> tuple[Path, int, tuple[str, ...]]:
    """Restores a clip into a new file of the store.

    Args:
      service: the application's parts.
      source: the clip.
      options: the request's.
      place: gets the progress in frames, and can cancel the work.

    Returns:
      The file, its number of frames, and warnings.

    Raises:
      Refusal: not a video, or too many frames.
      Cancelled: the place was cancelled.
    """
    from restore_tf.video import clip as video_clip
    from restore_tf.video import restore as video

    output = service.store.new(OUTPUT)
    with log.collected() as warnings, refusing(NAME):
        try:
            _check(video_clip.probe(source), service.limits.clip_frames, place)
            function, loaded = service.restoring.function(options, place, progress=False)

            def restore_frame(pixels):
                place.progress(place.done, place.total)
                restored = function(pixels)
                if place.done >= service.limits.clip_frames:
                    raise TooLarge(_words(service.limits.clip_frames))
                place.progress(place.done + 1, max(place.total, place.done + 1))
                return restored

            scale = getattr(loaded.model, "output_scale", 1)
            summary = video.restore_video(
                source, output, restore_frame, scale=scale, progress=False
            )
        except UserError as error:
            if isinstance(error, TooLarge):
                raise
            raise BadPicture(_anonymous(str(error), source, output)) from None
    lines = tuple(_anonymous(line, source, output) for line in warnings)
    return output, summary.frames, lines


def _check(clip, most, place):
    if clip.frames > most:
        raise TooLarge(f"{_words(most)}; it has {clip.frames}.")
    place.progress(0, clip.frames)


def _words(most):
    return f"{NAME}: has more than {most} frames, the limit of this server"


def _anonymous(text, source, output):
    """A message without the names of temporary files."""
    for path in (source, output):
        text = text.replace(str(path), NAME)
    return text
