"""`restore-tf weights`: lists, fetches, finds and removes published weights; packs a run's."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from absl import flags
from tqdm import tqdm

from restore_tf.commands import cli
from restore_tf.errors import UserError
from restore_tf.system import quiet

USAGE = """Manages published weights, which restore, evaluate, export and train take by name.
  restore-tf weights list
  restore-tf weights fetch NAME     downloads, checks and converts them
  restore-tf weights path NAME      prints the run directory
  restore-tf weights remove NAME    removes what was fetched
  restore-tf weights pack RUN --output DIR
                                    a run's best weights in 16 bits, to share or to ship"""

_ACTIONS = ("list", "fetch", "path", "remove", "pack")
_OWNERS = {"source": "fetch", "file": "fetch", "output": "pack"}  # of the flags


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
      argv: the program's name and its arguments; the process's own by default.

    Returns:
      The exit code.
    """
    return cli.run_command(_weights, define_flags(), sys.argv if argv is None else argv, USAGE)


def define_flags() -> flags.FlagValues:
    """Returns the command's flags, each at its default."""
    values = flags.FlagValues()
    flags.DEFINE_string(
        "source", None, "fetch: npm or https; by default the first that works", flag_values=values
    )
    flags.DEFINE_string(
        "file", None, "fetch: your copy of the published file; no download", flag_values=values
    )
    flags.DEFINE_string(
        "output", None, "pack: the run directory to make; missing or empty", flag_values=values
    )
    return values


def _weights(positional, values):
    action, names = (positional or ["list"])[0], positional[1:]
    if action not in _ACTIONS:
        raise UserError(f"weights {action}: expected one of {', '.join(_ACTIONS)}.")
    for name, owner in _OWNERS.items():
        if getattr(values, name) is not None and action != owner:
            raise UserError(f"--{name}: is for weights {owner}, not for {action}.")
    if action == "list" and names:
        raise UserError(f"{names[0]}: unexpected argument; weights list takes none.")
    if action != "list" and len(names) != 1:
        one = "run directory" if action == "pack" else "name; restore-tf weights lists them"
        raise UserError(f"weights {action}: expected one {one}.")
    if action == "pack" and values.output is None:
        raise UserError("--output: missing; expected the run directory to make.")
    quiet.import_tensorflow()  # papers import it; this keeps its messages quiet
    if action == "list":
        return _list()
    actions = {"fetch": _fetch, "path": _path, "remove": _remove, "pack": _pack}
    return actions[action](names[0], values)


def _list():
    from restore_tf.weights import published

    for name, entry in published.all_published().items():
        print(f"{name}: {entry.summary}")
        print(f"  {_state(name, entry, published)}; {entry.licence}, {entry.holder}")
        for number in entry.numbers:
            print(f"  {number}")
        for source in entry.sources:
            size = f", {source.bytes / 1e6:.0f} MB" if source.bytes else ""
            digest = f", SHA-256 {source.sha256}" if source.sha256 else ""
            print(f"  from {source}{size}{digest}")
    print(f"Fetched weights are kept in {published.home()} ({published.HOME} moves it).")


def _state(name, entry, published):
    if entry.shipped is not None:
        return "comes with the package" + (" and is the default" if entry.default else "")
    return f"here: {published.path(name)}" if published.is_here(name) else "not fetched"


def _fetch(name, values):
    from restore_tf.weights import published

    with tqdm(unit="B", unit_scale=True, disable=None, leave=False) as bar:

        def progress(done, total):
            bar.total = total
            bar.update(done - bar.n)

        print(published.fetch(name, values.source, values.file, progress))


def _path(name, values):
    from restore_tf.weights import published

    print(published.path(name))


def _remove(name, values):
    from restore_tf.weights import published

    print(f"Removed {published.remove(name)}.")


def _pack(workdir, values):
    from restore_tf.weights import packing

    packed = packing.pack(workdir, values.output)
    print(
        f"Packed {packed.weights:,} weights into {values.output}, {packed.bytes / 1e6:.1f} MB; a "
        f"restored picture differs by {packed.difference:.1g} of its range at most."
    )
    print(f"Next: restore-tf restore PICTURE --workdir {values.output} --output DIR")
