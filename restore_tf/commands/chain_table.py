"""`restore-tf chain --table`: what each link of a chain adds or costs."""

from __future__ import annotations

import os
from pathlib import Path

from restore_tf.errors import UserError
from restore_tf.experiments import experiment as experiments
from restore_tf.system import outputs, quiet

FILE_NAME = "table.csv"


def run(workdir: str | os.PathLike, values) -> int:
    """Scores a chain after each of its links; prints the table and writes it into the chain.

    Args:
      workdir: the chain's run directory.
      values: the flags of the data, --split and --limit among them.

    Raises:
      UserError: no chain, no such data, or no pair that could be scored.
    """
    workdir = Path(workdir)
    experiment, run = experiments.read(workdir)
    if not experiment.network.get("links"):
        raise UserError(f"--table {workdir}: is a run of {experiment.model}, no chain.")
    outputs.check_folder(workdir)
    outputs.Record(workdir).check_name(FILE_NAME)
    quiet.import_tensorflow()
    from restore_tf.evaluation import link_scores
    from restore_tf.weights import chains, load

    source, where = _pairs(values, experiment, run)
    chain = load.load_model(workdir)
    names = chains.names(experiment.network["links"])
    rows = link_scores.score_links(chain, names, source, values.limit)
    with outputs.staged(workdir, [FILE_NAME]) as staging, outputs.writing(workdir):
        link_scores.write_csv(staging / FILE_NAME, rows)
    print(f"{workdir} on {where}, {rows[0].n} pictures:\n")
    print(link_scores.format_rows(rows))
    best, last = max(rows, key=lambda row: row.psnr), rows[-1]
    total = last.psnr - rows[0].psnr
    print(f"\nAll links together: {total:+.2f} dB. Best after: {best.link} ({best.psnr:.2f} dB).")
    print(f"The same as numbers: {workdir / FILE_NAME}")
    return 0


def _pairs(values, experiment, run):
    """The pairs to score on, and what they are called."""
    from restore_tf.datasets import sources

    dataset = values.dataset or experiment.dataset
    same = dataset == experiment.dataset
    config = values.config or (experiment.config if same else sources.default_config(dataset))
    paths = {
        name: getattr(values, name) or (getattr(run, name) if same else None)
        for name in ("data_dir", "degraded_dir", "sharp_dir")
    }
    scale = experiments.construct(experiment).output_scale
    source = sources.open_source(
        dataset, config, values.split, **paths, seed=run.seed, output_scale=scale
    )
    return source, f"{dataset}/{config}/{values.split}"
