"""Shared by all commands: parses flags, prints errors in one line, returns an exit code."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence

from absl import flags

from restore_tf.errors import UserError, one_line
from restore_tf.system import log, outputs, quiet, signals
from restore_tf.system.version import version

VERBS = (
    "train sweep compare evaluate restore export convert weights chain average samples app serve "
    "client stream doctor"
).split()
USER_ERROR = 2
_MAY_BE_EMPTY = ("suffix", "tpu")
INTERRUPTED, TERMINATED = 130, 143  # what shells report for SIGINT and SIGTERM
READER_GONE = 141  # what shells report for SIGPIPE, which Python ignores

# Errors of a disk or folder that cannot be read or written; others are faults of this package.
_OF_THE_DISK = frozenset(
    getattr(errno, name)
    for name in "ENOSPC EDQUOT EROFS EACCES EPERM ENOTDIR EISDIR EEXIST ENOENT EFBIG ELOOP "
    "ENAMETOOLONG EIO".split()
    if hasattr(errno, name)
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `restore-tf <verb> …`.

    Args:
      argv: the program's name and its arguments; the process's own by default.

    Returns:
      The exit code.
    """
    argv = list(sys.argv if argv is None else argv)
    if argv[1:] in (["--version"], ["version"]):
        print(f"restore-tf {version()}")
        return 0
    if len(argv) < 2 or argv[1] not in VERBS:
        asked = argv[1:] in (["--help"], ["-h"], ["help"])
        print(
            f"usage: restore-tf {{{','.join(VERBS)}}} [--help]  (or --version)", file=_output(asked)
        )
        return 0 if asked else USER_ERROR
    command = importlib.import_module(f"restore_tf.commands.{argv[1]}")
    return command.main([f"restore-tf {argv[1]}", *argv[2:]])


def run_command(
    body: Callable[[list[str], flags.FlagValues], int | None],
    values: flags.FlagValues,
    argv: Sequence[str],
    usage: str,
) -> int:
    """Parses flags, runs a command's body and reports bad input in one line, with exit code 2.

    Args:
      body: takes the positional arguments and the parsed flags; returns an exit code or None.
      values: the command's own flags. They are not absl's global ones, so that several commands
        can live in one process.
      argv: the program's name and its arguments.
      usage: printed above the flags by --help.

    Returns:
      The exit code.
    """
    warnings.showwarning = _show_warning
    quiet.declare_own_process()
    log.show()
    if getattr(sys.stdout, "errors", None) == "strict" and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be text
    flags.DEFINE_boolean("help", False, "show this help", short_name="h", flag_values=values)
    try:
        positional = values(list(argv))[1:]
        if values.help:
            print(f"{usage}\n{values.get_help()}")
            return 0
        _check_not_empty(positional, values)
        with signals.interruptible():
            code = body(positional, values) or 0
        sys.stdout.flush()  # detects a closed pipe here, not when Python exits
        return code
    except flags.Error as error:
        print(one_line(f"error: {error} (see --help)"), file=sys.stderr)
        return USER_ERROR
    except UserError as error:
        print(f"error: {_without_nodes(str(error))}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        return _reader_gone()
    except OSError as error:
        if error.errno not in _OF_THE_DISK:
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(one_line(f"error: {where}{outputs.reason(error)}."), file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt as reason:
        print("interrupted", file=sys.stderr)
        return TERMINATED if isinstance(reason, signals.Terminated) else INTERRUPTED


def _reader_gone():
    """Exits silently when the reader of the output has closed it, as in `… | head -1`."""
    with contextlib.suppress(OSError, ValueError):
        # Python would write the rest of the buffer when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return READER_GONE


def _check_not_empty(positional, values):
    """Refuses empty arguments, which an unset shell variable gives: they would mean "."."""
    if "" in positional:
        raise UserError("an argument is empty; expected a path, or leave it out.")
    for flag in {id(values[name]): values[name] for name in values}.values():  # short names aside
        if flag.present and flag.value == "" and flag.name not in _MAY_BE_EMPTY:
            raise UserError(f"--{flag.name}: is empty; expected a value, or leave it out.")


def _show_warning(message, category, filename, lineno, file=None, line=None):
    log.logger.warning("%s", message)


def _without_nodes(text):
    """Removes the node names that TensorFlow puts before messages."""
    return re.sub(r"\{\{(?:function_)?node [^}]*\}\} ?", "", text)


def _output(asked):
    return sys.stdout if asked else sys.stderr
