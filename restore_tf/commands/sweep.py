"""`restore-tf sweep`: trains the same model with several values of a field and compares them."""

from __future__ import annotations

import functools
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from restore_tf.commands import cli, train, training_plan
from restore_tf.commands.words import without_flags
from restore_tf.errors import UserError
from restore_tf.experiments import papers
from restore_tf.system import outputs, quiet
from restore_tf.system.log import logger
from restore_tf.system.signals import stop_signals

USAGE = """Trains the same model several times and compares the trainings in one table and one
picture of loss curves. Takes every flag of train.py but --workdir, and
  restore-tf sweep --model srn --over learning_rate=1e-3,1e-4 --output sweeps/rates
Several --over train every combination. The same command resumes an interrupted sweep."""

TABLE, CURVES = "table.csv", "curves.png"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
      argv: the program's name and its arguments; the process's own by default.

    Returns:
      The exit code.
    """
    argv = list(sys.argv if argv is None else argv)
    return cli.run_command(functools.partial(_sweep, argv[1:]), define_flags(), argv, USAGE)


def define_flags() -> flags.FlagValues:
    """Returns the command's flags, each at its default."""
    values = train.define_flags()
    flags.DEFINE_multi_string(
        "over", [], "values to compare: field=value,value of the recipe", flag_values=values
    )
    flags.DEFINE_string(
        "output", None, "folder for the run directories, the table and the curves", values
    )
    return values


def _sweep(argv, positional, values):
    if positional:
        raise UserError(f"{positional[0]}: unexpected argument; sweep takes flags only.")
    for name, example in [("model", papers.listed(papers.names())), ("output", "a folder")]:
        if getattr(values, name) is None:
            raise UserError(f"--{name}: missing; expected {example}.")
    if values.workdir is not None:
        raise UserError("--workdir: not for a sweep; pass --output, the folder of all its runs.")
    if not values.over:
        raise UserError("--over: missing; expected a field and values: learning_rate=1e-3,1e-4.")
    if not training_plan.other_backend():
        quiet.import_tensorflow()
    from restore_tf.training import sweep

    settings, output = sweep.settings(values.over), Path(values.output)
    sweep.check_plots()
    outputs.check_folder(output)
    record = outputs.Record(output)
    for name in (TABLE, CURVES):
        record.check(output / name)
    workdirs = {setting: output / ",".join(setting) for setting in settings}
    _check(values, workdirs)
    words = without_flags(argv, ("over", "output"))
    outcomes, stopped = _train_all(words, workdirs)
    _write(output, outcomes)
    print(sweep.format_table(outcomes))
    print(f"Table: {output / TABLE}; curves: {output / CURVES}")
    if stopped:
        print("interrupted; the same command resumes.", file=sys.stderr)
        return cli.INTERRUPTED
    return 1 if any(outcome.failed for outcome in outcomes) else 0


def _check(values, workdirs):
    """Checks the plans of all trainings before the first one begins."""
    given = list(values.set)
    for setting, workdir in workdirs.items():
        values.set, values.workdir = [*given, *setting], str(workdir)
        training_plan.make_plan(values)
    values.set = given


def _train_all(words, workdirs):
    """Trains one after another; returns (outcomes, whether a signal ended it)."""
    from restore_tf.training import sweep

    outcomes = []
    with stop_signals() as stop:
        for number, (setting, workdir) in enumerate(workdirs.items(), 1):
            name = ", ".join(setting)
            logger.info("%d of %d: %s", number, len(workdirs), name)
            code = _train(words, setting, workdir, stop)
            failed = None if code == 0 else f"train ended with exit code {code}"
            outcomes.append(sweep.read_outcome(name, workdir, failed))
            if stop.requested:
                break
    return outcomes, stop.requested


def _train(words, setting, workdir, stop):
    """Trains in a process of its own, so that no state reaches the next training."""
    command = [sys.executable, "-m", "restore_tf.commands.train", *words, f"--workdir={workdir}"]
    process = subprocess.Popen([*command, *(f"--set={each}" for each in setting)])
    signalled = False
    while process.poll() is None:
        # A terminal sends Ctrl-C to both processes; other signals reach this one alone.
        if stop.requested and stop.number != signal.SIGINT and not signalled:
            process.send_signal(stop.number)
            signalled = True
        time.sleep(0.05)
    return process.returncode


def _write(output, outcomes):
    from restore_tf.training import sweep

    outputs.make_folder(output)
    record = outputs.Record(output)
    for name, write in ((TABLE, sweep.write_table), (CURVES, sweep.draw_curves)):
        record.check(output / name)
        write(outcomes, output / name)
        record.add(output / name)


if __name__ == "__main__":
    sys.exit(main())
