"""`restore-tf compare`: several networks on the same pictures, after equal trainings."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from restore_tf.commands import cli
from restore_tf.commands.comparing import costs
from restore_tf.commands.comparing import request as requests
from restore_tf.errors import UserError
from restore_tf.system import quiet
from restore_tf.system.log import logger

USAGE = """Compares networks: scores with paired intervals, costs, pictures, in one HTML page.
Trains five light networks, each on two kinds of blur, and evaluates them; others by name:
  restore-tf compare --output COMPARISON
  restore-tf compare --models srn,unet,mprnet --output COMPARISON
Evaluates runs, published weights and chains alone:
  restore-tf compare RUN RUN maxim_deblurring_stage1 --chains pairs --output COMPARISON
The same command resumes an interrupted comparison. Without networks it rewrites the page of a
finished one, here with the tally of votes:
  restore-tf compare --output COMPARISON --votes VOTES.json"""

SOME_MISSING = 1  # exit code: a row has no scores


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
      argv: the program's name and its arguments; the process's own by default.

    Returns:
      The exit code.
    """
    argv = list(sys.argv if argv is None else argv)
    return cli.run_command(functools.partial(_compare, argv=argv), define_flags(), argv, USAGE)


def define_flags() -> flags.FlagValues:
    """Returns the command's flags, each at its default."""
    values = flags.FlagValues()
    _define_networks(values)
    _define_pictures(values)
    number = functools.partial(flags.DEFINE_integer, lower_bound=1, flag_values=values)
    flags.DEFINE_enum(
        "budget",
        "pixels",
        ["pixels", "minutes", "recipe"],
        "equal for all models: the pixels that their networks see, the minutes of training, or "
        "nothing (each recipe's own training)",
        flag_values=values,
    )
    number("steps", 1000, "--budget pixels: steps of all networks of a model together")
    number("batch", 4, "--budget pixels, minutes: pairs a step")
    number("crop", 96, "--budget pixels, minutes: side of the training crops in pixels")
    flags.DEFINE_float("minutes", 4.0, "--budget minutes: of each model", 0.01, flag_values=values)
    flags.DEFINE_integer("seed", 0, "of everything random", 0, 2**31 - 1, flag_values=values)
    trial = f"by default not of a trial (--steps {requests.TRIAL} or fewer)"
    costs_and_curves = functools.partial(flags.DEFINE_boolean, default=None, flag_values=values)
    costs_and_curves("cost", help=f"measure time and memory, each network alone; {trial}")
    costs_and_curves(
        "curves", help=f"samplers at several steps, blends with the input and of two; {trial}"
    )
    flags.DEFINE_list(
        "cost_sizes", ["512x512", "1280x720"], "WIDTHxHEIGHT of --cost", flag_values=values
    )
    number("grid_crop", 192, "side of the crops that the page and the grid show, in pixels")
    flags.DEFINE_integer(
        "grid_scale", 1, "factor by which the grid is enlarged", 1, 3, flag_values=values
    )
    flags.DEFINE_boolean(
        "blind",
        False,
        "also write a page for votes, shuffled and without names, and its key",
        flag_values=values,
    )
    flags.DEFINE_string(
        "votes", None, "add the tally of votes saved by the page of --blind", values
    )
    flags.DEFINE_string(
        "output", None, "the comparison's folder", short_name="o", flag_values=values
    )
    return values


def _define_networks(values):
    names = functools.partial(flags.DEFINE_list, default=None, flag_values=values)
    names(
        "models",
        help="to train: MODEL or MODEL:RECIPE, …; by default the light recipe. Without --models "
        "and --runs: five light networks",
    )
    names("runs", help="to evaluate: run directories and published weights")
    names(
        "chains",
        help="A+B,…: the second restores the output of the first; steps such as unsharp:2:1.5:3 "
        'are links, too; "pairs" for all pairs of networks in both orders',
    )
    flags.DEFINE_boolean(
        "finish",
        False,
        "also train the second of each chain on the output of the first",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "train_per",
        "kind",
        ["kind", "all", "both"],
        "train each model on each set of --dataset, on all of them together, or both",
        flag_values=values,
    )


def _define_pictures(values):
    several = functools.partial(flags.DEFINE_multi_string, default=None, flag_values=values)
    several("dataset", help="SET:CONFIG,… to train and test on; by default two synthetic kinds")
    several("test_on", help="SET:CONFIG,… or SET:CONFIG/SPLIT,… to test on only")
    flags.DEFINE_string(
        "data_dir", None, "folders of the sets: SET=FOLDER,SET:CONFIG=FOLDER,…", values
    )
    flags.DEFINE_integer(
        "limit", None, "test pictures of each set, evenly spaced", 1, flag_values=values
    )
    flags.DEFINE_list("metrics", None, "by default those of evaluate.py", flag_values=values)


def _compare(positional, values, argv):
    if values.output is None:
        raise UserError("--output: missing; expected a folder.")
    output = Path(values.output)
    sizes = [] if values.cost is False else costs.parse_sizes(values.cost_sizes)
    if values.votes is not None and not Path(values.votes).is_file():
        raise UserError(f"--votes {values.votes}: no such file.")
    named = values.models or values.runs or positional
    if not named and (values.votes is not None or _is_finished(output)):
        return _rewrite(output, values)
    quiet.import_tensorflow()
    request = requests.read_flags(values, positional)
    if not named and (output / "scores.json").is_file() and not requests.is_of(output, request):
        return _rewrite(output, values)
    from restore_tf.commands.comparing import work

    cost, curves = (
        not request.is_trial if asked is None else asked for asked in (values.cost, values.curves)
    )
    left_out = [name for name in ("cost", "curves") if values[name].value is None]
    if request.is_trial and left_out:
        logger.info("a trial: without %s", " and ".join(f"--{name}" for name in left_out))
    comparison, interrupted = work.compare(request, output, sizes, cost, curves, argv)
    if interrupted:
        print("interrupted; the same command resumes.", file=sys.stderr)
        return cli.INTERRUPTED
    return _write(comparison, values)


def _is_finished(output):
    """Whether a folder has a comparison without missing rows."""
    from restore_tf.evaluation.comparison import report

    if not (output / "scores.json").is_file():
        return False
    return not any(row.missing for row in report.read(output).rows)


def _rewrite(output, values):
    """Rewrites the files of a finished comparison."""
    from restore_tf.evaluation.comparison import report

    if not (output / "scores.json").is_file():
        raise UserError(
            f"--votes: {output} holds no finished comparison; pass the folder of the one that was "
            "voted on."
        )
    return _write(report.read(output), values)


def _write(comparison, values):
    from restore_tf.evaluation.comparison import blind, report

    shown = {"crop": values.grid_crop, "seed": values.seed}
    if values.blind:
        blind.write_blind(comparison, **shown)
    votes = values.votes and blind.tally(comparison, values.votes)
    report.write(comparison, scale=values.grid_scale, tally=votes, **shown)
    print(report.format_table(comparison))
    for win in votes.wins if votes else ():
        share = f"{win.share:.0%} [{win.low:.0%}, {win.high:.0%}]"
        print(f"Votes for {win.row}: {win.votes} of {win.shown}, {share}")
    missing = [row for row in comparison.rows if row.missing]
    for row in missing:
        logger.warning("%s: missing (%s)", row.name, row.missing)
    if values.blind:
        print(f"To vote without names: {comparison.folder / blind.PAGE}")
    print(f"Pictures and every score: {comparison.folder / report.PAGE}", flush=True)
    return SOME_MISSING if missing else 0


if __name__ == "__main__":
    sys.exit(main())
