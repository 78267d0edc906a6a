"""`restore.py` on clips: a restored video, stills of it, or how fast this machine is with it."""

from __future__ import annotations

import os
from pathlib import Path

from absl import flags

from restore_tf.errors import UserError


def define(values: flags.FlagValues) -> None:
    """Defines --frames, --as_images, --fps_report and --video_quality."""
    flags.DEFINE_string(
        "frames", None, "video: 10-20, 15, 10-, -20 or 10-20,40; counted from 0", flag_values=values
    )
    flags.DEFINE_boolean("as_images", False, "video: write frames as stills", flag_values=values)
    flags.DEFINE_boolean(
        "fps_report", False, "video: print what this machine sustains", flag_values=values
    )
    flags.DEFINE_integer(
        "video_quality",
        None,
        "video: constant rate factor, smaller is better; 16 (H.264), 18 (VP9)",
        0,
        63,
        flag_values=values,
    )


def are_clips(inputs, values: flags.FlagValues) -> bool:
    """Returns whether the inputs are videos.

    Raises:
      UserError: some are and some are not, or a video's flag without a video.
    """
    from restore_tf.video.restore import is_video

    clips = [text for text in inputs if is_video(text)]
    if clips and len(clips) < len(inputs):
        other = next(text for text in inputs if text not in clips)
        raise UserError(f"{other}: is no video, {clips[0]} is; restore them one after the other.")
    if not clips:
        for name in ("frames", "as_images", "fps_report", "video_quality"):
            if values[name].present:
                raise UserError(f"--{name}: is for videos, and there is none.")
    return bool(clips)


def run(inputs, values: flags.FlagValues, restorer) -> int:
    """Restores clips one after the other; returns the exit code.

    Args:
      inputs: their files.
      values: all flags of restore.py.
      restorer: makes the function of pixels; called once everything else is known to be right.
    """
    from restore_tf.video import restore as video
    from restore_tf.video import speed

    frames = video.parse_frames(values.frames) if values.frames else None
    paths = [Path(text) for text in inputs]
    for path in paths:
        if not path.is_file():
            raise UserError(f"{path}: no such file; expected a video.")
    if values.fps_report:
        restore = restorer(values)
        for path in paths:
            print(f"{path}:\n{speed.report_table(speed.fps_report(path, restore))}")
        return 0
    if values.output is None:
        raise UserError("--output: missing; expected a folder, or a file for a single clip.")
    if values.as_images:
        restore = restorer(values)
        for path in paths:
            stills = video.frames_as_images(
                path, values.output, restore, frames=frames, overwrite=values.overwrite
            )
            print(f"{path}: {len(stills)} stills into {values.output}")
        return 0
    targets = [_target(path, values.output, len(paths) == 1) for path in paths]
    _check_targets(paths, targets, values.overwrite)
    restore = restorer(values)
    for path, target in zip(paths, targets, strict=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        done = video.restore_video(
            path, target, restore, frames=frames, quality=values.video_quality
        )
        print(f"{target}: {done.frames} frames, {done.frames_per_second:.2f} frames/s")
    return 0


def _target(path, output, single):
    from restore_tf.video.restore import OUTPUT_ENDINGS

    target = Path(output)
    if single and target.suffix.lower() in OUTPUT_ENDINGS and not target.is_dir():
        return target
    if target.suffix and not target.is_dir():
        raise UserError(
            f"{output}: expected a folder, or one file ending in {', '.join(OUTPUT_ENDINGS)}."
        )
    kept = path.suffix.lower() in OUTPUT_ENDINGS  # AVI cannot hold the times of frames
    return target / (path.name if kept else f"{path.stem}.mkv")


def _check_targets(paths, targets, overwrite):
    inputs = {os.path.realpath(path) for path in paths}
    for path, target in zip(paths, targets, strict=True):
        if os.path.realpath(target) in inputs:
            raise UserError(f"{target}: is an input; choose another --output.")
        if targets.count(target) > 1:
            raise UserError(f"{path}: two clips would be written to {target}.")
        if target.exists() and not overwrite:
            raise UserError(f"{target}: exists; pass --overwrite or another --output.")
