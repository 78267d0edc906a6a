"""`restore-tf stream`: restores raw frames from a file or a pipe."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from absl import flags

from restore_tf.commands import cli
from restore_tf.errors import UserError
from restore_tf.system.files import atomic_path
from restore_tf.video import raw_frames, stream

USAGE = """Restores raw video frames with a TFLite file, from a file or a pipe to a file or a pipe.
  restore-tf stream --tflite FILE --size 720x1280 --input frames.rgb --output sharp.rgb
  camera | restore-tf stream --tflite FILE --size 720x1280 --pixels nv12 | display

A pipe is live: if restoring cannot keep up, the newest frame is restored, and older ones are
dropped and counted. Frames of a file are dropped only with --fps, which plays it like a camera."""

STREAM = "-"
_SIGNAL = 128  # what shells add to a signal's number


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
      argv: the program's name and its arguments; the process's own by default.

    Returns:
      The exit code.
    """
    return cli.run_command(_stream, define_flags(), sys.argv if argv is None else argv, USAGE)


def define_flags() -> flags.FlagValues:
    """Returns the command's flags, each at its default."""
    values = flags.FlagValues()

    def text(name, default, meaning):
        flags.DEFINE_string(name, default, meaning, flag_values=values)

    def number(name, default, meaning):
        flags.DEFINE_integer(name, default, meaning, 1, flag_values=values)

    text("tflite", None, "the TFLite file, made by export.py")
    text("size", None, "HEIGHTxWIDTH of the frames, in pixels")
    flags.DEFINE_enum(
        "pixels", "rgb24", raw_frames.PIXELS, "the frames' pixel format", flag_values=values
    )
    text("input", STREAM, "a file, a named pipe or a device; - for standard input")
    text("output", STREAM, "a file, a named pipe or a device; - for standard output")
    flags.DEFINE_float("fps", None, "read a file at N frames a second", 1e-3, flag_values=values)
    flags.DEFINE_boolean(
        "drop", None, "drop frames to keep up; by default for pipes and --fps", flag_values=values
    )
    number("queue", 1, "complete frames that may wait: fewer gaps, more delay")
    flags.DEFINE_float("strength", 1.0, "mix of restored (1) and input (0)", 0, 1, values)
    number("threads", None, "threads of the interpreter; its own choice by default")
    flags.DEFINE_enum(
        "matrix",
        "auto",
        raw_frames.MATRICES,
        "NV12: the colour matrix; auto: BT.709 from 1280x720 on, BT.601 below",
        flag_values=values,
    )
    flags.DEFINE_boolean("full_range", False, "NV12: black is 0, not 16", flag_values=values)
    flags.DEFINE_boolean("overwrite", False, "replace an existing output", flag_values=values)
    return values


def _stream(positional, values):
    if positional:
        raise UserError(f"{positional[0]}: not expected; name the source by --input.")
    form = _form(values)
    with _source(values.input, form) as source:
        is_file = stat.S_ISREG(os.fstat(source).st_mode)
        live = _live(values, is_file)
        if is_file:
            _check_length(values.input, source, form)
        with _sink(values.output, values.overwrite) as sink, _Status() as status:
            summary = stream.restore_stream(
                _model(values),
                source,
                sink,
                form,
                live=live,
                fps=values.fps,
                queue=values.queue,
                strength=values.strength,
                report=status.show,
            )
    return _end(summary, values, form)


def _form(values):
    if values.size is None:
        raise UserError("--size: missing; expected the frames' HEIGHTxWIDTH, such as 720x1280.")
    found = re.fullmatch(r"(\d{1,6})x(\d{1,6})", values.size)
    if not found:
        raise UserError(f"--size {values.size}: expected HEIGHTxWIDTH, such as 720x1280.")
    return raw_frames.FrameFormat(
        int(found[1]), int(found[2]), values.pixels, values.matrix, values.full_range
    )


def _live(values, is_file):
    if values.fps is not None and not is_file:
        raise UserError(f"--fps {values.fps:g}: is for files; a pipe has its own frame rate.")
    if is_file and values.drop and values.fps is None:
        raise UserError("--drop: a file has no frame rate; set it by --fps.")
    if values.drop is not None:
        return values.drop
    return not is_file or values.fps is not None


def _model(values):
    if values.tflite is None:
        raise UserError("--tflite: missing; expected a file that export.py made.")
    from restore_tf.inference.tflite_model import LiteModel

    return LiteModel(values.tflite, values.threads)


@contextlib.contextmanager
def _source(name, form) -> Iterator[int]:
    if name == STREAM:
        if sys.stdin.isatty():
            raise UserError("--input -: standard input is a terminal; expected a pipe of frames.")
        yield sys.stdin.fileno()
        return
    try:
        file = os.open(name, os.O_RDONLY)
    except OSError as error:
        raise UserError(f"{name}: cannot be read ({error.strerror}).") from None
    try:
        if stat.S_ISDIR(os.fstat(file).st_mode):
            raise UserError(f"{name}: is a folder; expected a file of {form.pixels} frames.")
        yield file
    finally:
        os.close(file)


def _check_length(name, source, form):
    """Refuses a file of incomplete frames, which is the sign of a wrong --size."""
    length = os.fstat(source).st_size - os.lseek(source, 0, os.SEEK_CUR)
    whole, rest = divmod(length, form.bytes)
    if rest or not whole:
        raise UserError(
            f"{name}: is {length} bytes long, {whole} frames of {form} {form.pixels} "
            f"({form.bytes} bytes) and {rest} bytes; expected whole frames. Check --size and "
            "--pixels, or cut off the rest."
        )


@contextlib.contextmanager
def _sink(name, overwrite) -> Iterator[int]:
    if name == STREAM:
        if sys.stdout.isatty():
            raise UserError("--output -: standard output is a terminal; expected a pipe or file.")
        yield sys.stdout.fileno()
        return
    path = Path(name)
    with contextlib.ExitStack() as stack:
        try:
            if path.is_dir():
                raise UserError(f"{name}: is a folder; expected a file or a named pipe.")
            if path.exists() and not path.is_file():  # a named pipe, a device
                written = path
            elif path.exists() and not overwrite:
                raise UserError(f"{name}: exists; pass --overwrite or another --output.")
            else:
                written = stack.enter_context(atomic_path(path))
            file = os.open(written, os.O_WRONLY)
        except OSError as error:
            raise UserError(f"{name}: cannot be written ({error.strerror}).") from None
        stack.callback(os.close, file)
        yield file


class _Status:
    """A status line, on terminals only."""

    def __init__(self):
        self._shown = False

    def __enter__(self):
        return self

    def show(self, summary):
        """Replaces the status line.

        Args:
          summary: of the stream so far.
        """
        if sys.stderr.isatty():
            self._shown = True
            print(f"\r\x1b[K{summary}", end="", file=sys.stderr, flush=True)

    def __exit__(self, *_):
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr)


def _end(summary, values, form):
    """Prints the summary; returns the exit code."""
    print(summary, file=sys.stderr)
    if summary.signal is not None:
        return _SIGNAL + summary.signal
    if summary.left_over:
        raise UserError(
            f"the input: ends within frame {summary.frames + 1}, after {summary.left_over} of its "
            f"{form.bytes} bytes; {summary.written} frames are written. Check --size {form} and "
            f"--pixels {form.pixels}."
        )
    if not summary.frames:
        raise UserError("the input: ended without a frame.")
    return 0
