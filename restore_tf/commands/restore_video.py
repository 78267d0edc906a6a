"""`restore.py` on clips: writes a restored video or stills of it, or measures the speed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import flags

from restore_tf.commands import restore_inputs, restore_jobs
from restore_tf.commands.flags import pictures as pictures_flags
from restore_tf.commands.restore_inputs import Entry
from restore_tf.errors import UserError
from restore_tf.pictures import kinds
from restore_tf.system import disk
from restore_tf.system.record import Record

_FOR_CLIPS = ("frames", "as_images", "fps_report", "video_quality")
_FOR_PICTURES = ("strip", "disagreement", "max_pixels", "verify_tiles")
_FOR_STILLS = ("format", "jpeg_quality")


def define(values: flags.FlagValues) -> None:
    """Defines --frames, --as_images, --fps_report and --video_quality.

    Args:
      values: the command's flags.
    """
    flags.DEFINE_string(
        "frames",
        None,
        "video: frames to restore, 10-20, 15, 10-, -20 or 10-20,40; counted from 0; all by default",
        flag_values=values,
    )
    flags.DEFINE_boolean("as_images", False, "video: write frames as stills", flag_values=values)
    flags.DEFINE_boolean(
        "fps_report", False, "video: measure and print frames a second", flag_values=values
    )
    flags.DEFINE_integer(
        "video_quality",
        None,
        "video: constant rate factor, lower is better; 16 (H.264) or 18 (VP9) by default",
        0,
        63,
        flag_values=values,
    )


def are_clips(found: Sequence[Entry], values: flags.FlagValues) -> bool:
    """Returns whether the inputs are restored as videos.

    They are if the command line names a clip or has a flag for videos, or if folders and patterns
    hold clips and no pictures.

    Args:
      found: all files among the inputs, from `restore_inputs.entries`.
      values: all flags of restore.py.

    Raises:
      UserError: a video's flag without a video.
    """
    clips = [entry for entry in found if kinds.is_clip(entry.path)]
    asked = [name for name in _FOR_CLIPS if values[name].present]
    if asked and not clips:
        raise UserError(f"--{asked[0]}: is for videos; the inputs have none.")
    pictures = any(kinds.is_picture(entry.path) for entry in found)
    return bool(clips) and (bool(asked) or not pictures or any(clip.named for clip in clips))


def restore_clips(
    found: Sequence[Entry],
    inputs: Sequence[str],
    values: flags.FlagValues,
    restorer: Callable[[flags.FlagValues], Callable],
) -> int:
    """Restores clips one after the other; returns the exit code.

    Args:
      found: all files among the inputs, from `restore_inputs.entries`.
      inputs: the files, folders and patterns of the command line.
      values: all flags of restore.py.
      restorer: makes the function that restores pixels; called after all checks.

    Raises:
      UserError: flags or outputs that do not fit, or the error of a single clip.
    """
    from restore_tf.video import restore as video

    clips = restore_inputs.select(found, inputs, kinds.is_clip, "clips")
    _check_flags(values)
    frames = video.parse_frames(values.frames) if values.frames else None
    if values.fps_report:
        work = [(clip, None, None) for clip in clips]
    elif values.as_images:
        output = _folder(values.output)
        work = [(clip, output / clip.below, Record(output)) for clip in clips]
        _check_stills(work)
    else:
        work = _targets(clips, inputs, values)
    failed = []
    restore = restorer(values)
    for clip, target, record in work:
        try:
            with pictures_flags.naming_errors(str(clip.path)):
                line = _restore_one(clip.path, target, record, restore, frames, values)
                print(line, flush=True)
        except UserError as error:
            if len(work) == 1:
                raise
            failed.append(error)
    return _report(failed, len(work))


def _restore_one(path, target, record, restore, frames, values) -> str:
    """Returns the line to print."""
    from restore_tf.video import restore as video
    from restore_tf.video import speed

    scale = getattr(restore, "scale", 1)
    if values.fps_report:
        report = speed.fps_report(path, restore, scale=scale)
        return f"{path}:\n{speed.report_table(report)}"
    if values.as_images:
        stills = video.frames_as_images(
            path,
            target,
            restore,
            frames=frames,
            suffix=f".{values.format or 'png'}",
            jpeg_quality=values.jpeg_quality,
            overwrite=values.overwrite,
            record=record,
        )
        return f"{path}: {len(stills)} stills into {target}"
    disk.make_folder(target.parent)
    done = video.restore_video(
        path, target, restore, frames=frames, quality=values.video_quality, scale=scale
    )
    if record is not None:
        record.add(target)
    return f"{target}: {done.frames} frames, {done.frames_per_second:.2f} frames/s"


def _report(failed, count):
    if not failed:
        return 0
    print(f"{len(failed)} of {count} clips failed:", file=sys.stderr)
    for error in failed:
        print(f"error: {error}", file=sys.stderr)
    return pictures_flags.SOME_FAILED


def _check_flags(values):
    without = () if values.as_images else _FOR_STILLS
    for name in (*_FOR_PICTURES, *without):
        if values[name].present and values[name].value:
            raise UserError(f"--{name}: is for pictures, not for videos; leave it out.")


def _folder(output):
    if output is None:
        raise UserError("--output: missing; expected a folder, or a file for a single clip.")
    return Path(output)


def _check_stills(work):
    """Refuses two clips whose stills would have the same names."""
    taken: dict[tuple[Path, str], Path] = {}
    for clip, folder, _ in work:
        disk.check_folder(folder)
        other = taken.setdefault((folder, clip.path.stem), clip.path)
        if other != clip.path:
            raise UserError(
                f"{clip.path}: its stills would have the names of {other}'s; restore them in two "
                "runs."
            )


def _targets(clips, inputs, values) -> list[tuple[Entry, Path, Record | None]]:
    """Returns each clip, the file that it becomes and its record; None where --output names it."""
    from restore_tf.video.writer import CONTAINERS

    restore_jobs.check_suffix(values.suffix)
    if values.output is None and not values.suffix:
        _folder(None)
    target = Path(values.output) if values.output is not None else None
    single = len(inputs) == 1 and clips[0].named
    is_file = target is not None and bool(target.suffix) and not target.is_dir()
    if is_file and single and target.suffix.lower() in CONTAINERS:
        if values.suffix:
            raise UserError(
                f"--suffix: --output {target} names the file; expected a folder, or no suffix."
            )
        return _checked([(clips[0], target, None)], values)
    if is_file:
        raise UserError(
            f"{target}: expected a folder, or one file ending in {', '.join(CONTAINERS)}."
        )
    kept = restore_jobs.without_results(clips, target, values.suffix)
    work, record_of = [], restore_jobs.records(target)
    for clip in kept:
        folder = clip.path.parent if target is None else target / clip.below
        ending = clip.path.suffix if clip.path.suffix.lower() in CONTAINERS else ".mkv"
        name = f"{clip.path.stem}{values.suffix}{ending}"
        work.append((clip, folder / name, record_of(folder)))
    return _checked(work, values)


def _checked(work, values):
    restore_jobs.check_outputs([(clip.path, [target]) for clip, target, _ in work])
    for _, target, record in work:
        if os.path.lexists(target) and not values.overwrite:
            raise UserError(f"{target}: exists; pass --overwrite or another --output.")
        if record is not None:
            record.check_overwrite(target, values.overwrite)
    return work
