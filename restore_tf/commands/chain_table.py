"""`restore-tf chain --table`: the PSNR that each link of a chain gains or loses."""

from __future__ import annotations

import os
from pathlib import Path

from restore_tf.commands.flags import data as data_flags
from restore_tf.errors import UserError
from restore_tf.experiments import experiment as experiments
from restore_tf.system import outputs, quiet

FILE_NAME = "table.csv"


def write_table(workdir: str | os.PathLike, values) -> int:
    """Scores a chain after each of its links; prints the table and writes it into the chain.

    Args:
      workdir: the chain's run directory.
      values: the command's flags: the data's, --split and --limit.

    Returns:
      The exit code.

    Raises:
      UserError: not a chain, unknown data, or no pair that could be scored.
    """
    workdir = Path(workdir)
    experiment, run = experiments.read(workdir)
    if not experiment.network.get("links"):
        raise UserError(f"--table {workdir}: is a run of {experiment.model}, not a chain.")
    outputs.check_folder(workdir)
    outputs.Record(workdir).check_name(FILE_NAME)
    quiet.import_tensorflow()
    from restore_tf.datasets import sources
    from restore_tf.evaluation import link_scores
    from restore_tf.weights import chains, load

    dataset, config, folders = _only(values, experiment, run)
    scale = experiments.construct(experiment).output_scale
    source = sources.open_source(
        dataset, config, values.split, **folders, seed=run.seed, output_scale=scale
    )
    chain = load.load_model(workdir)
    names = chains.names(experiment.network["links"])
    rows = link_scores.score_links(chain, names, source, values.limit)
    with outputs.staged(workdir, [FILE_NAME]) as staging, outputs.writing(workdir):
        link_scores.write_csv(staging / FILE_NAME, rows)
    print(f"{workdir} on {dataset}/{config}/{values.split}, {rows[0].n} pictures:\n")
    print(link_scores.format_rows(rows))
    best, last = max(rows, key=lambda row: row.psnr), rows[-1]
    total = last.psnr - rows[0].psnr
    print(f"\nAll links together: {total:+.2f} dB. Best after: {best.link} ({best.psnr:.2f} dB).")
    print(f"The same as numbers: {workdir / FILE_NAME}")
    return 0


def _only(values, experiment, run):
    """The one data set to score on: (data set, configuration, {flag: folder})."""
    several = data_flags.each(values, experiment, run)
    if len(several) > 1:
        sets = ", ".join(f"{dataset}:{config}" for dataset, config, _ in several)
        raise UserError(f"--table: takes one data set; pass one of {sets} as --dataset.")
    return several[0]
