"""`evaluate.py`: scores a run on a data set and writes CSV, JSON and an HTML page."""

from __future__ import annotations

import functools
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from restore_tf.commands import cli
from restore_tf.commands.flags import data as data_flags
from restore_tf.commands.flags import model as model_flags
from restore_tf.errors import UserError
from restore_tf.experiments import experiment as experiments
from restore_tf.system import quiet

USAGE = """Scores a trained run, beside the blurry input and unsharp masking.
  python evaluate.py --workdir RUN --dataset gopro --data_dir DIR/GOPRO_Large"""

PROTOCOL = (
    "PSNR, SSIM and MSE of 8-bit RGB pictures, clipped and rounded; SSIM (MATLAB) is the 3-D "
    "window that papers print, SSIM (per channel) is scikit-image's; unsharp masking with radius "
    "2, amount 1"
)
ALIGNED_PROTOCOL = "; aligned PSNR and SSIM by RealBlur's protocol (gain, ECC homography, mask)"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    argv = list(sys.argv if argv is None else argv)
    body = functools.partial(_evaluate, argv=argv)
    return cli.run(body, _flags(), argv, USAGE)


def _flags():
    values = flags.FlagValues()
    model_flags.define(values)
    data_flags.define(values, "what the run was trained on")
    flags.DEFINE_string("split", "test", "train, validation or test", flag_values=values)
    flags.DEFINE_list(
        "metrics",
        None,
        "psnr, ssim_matlab, ssim, mse, realblur_psnr, realblur_ssim; the first four by default, "
        "for realblur all",
        flag_values=values,
    )
    flags.DEFINE_string(
        "output", None, "folder for the results; RUN/evaluation/… by default", flag_values=values
    )
    flags.DEFINE_integer(
        "limit", None, "only the first so many pictures", lower_bound=1, flag_values=values
    )
    flags.DEFINE_integer(
        "pictures",
        100,
        "write the files of so many pictures, the worst ones, for the page's sliders",
        lower_bound=0,
        flag_values=values,
    )
    return values


def _evaluate(positional, values, argv):
    if positional:
        raise UserError(f"{positional[0]}: unexpected argument; evaluate.py takes flags only.")
    experiment, run = experiments.read(model_flags.workdir(values))
    quiet.import_tensorflow()
    from restore_tf.evaluation import score
    from restore_tf.inference import restore

    dataset, config, source = _source(values, experiment, run)
    names = values.metrics or score.METRICS
    if not values.metrics and dataset == "realblur":
        names = score.METRICS + score.ALIGNED
    output = Path(values.output or _default_output(values.workdir, dataset, config, values.split))
    model = model_flags.load(values)
    rows = score.evaluate(
        functools.partial(restore.restore, model),
        source,
        names,
        values.limit,
        _empty_pictures(output),
        values.pictures,
    )
    provenance = {
        "run": str(values.workdir),
        "weights": f"{experiment.model}, {_origin(experiment, run)}; "
        f"{model_flags.describe(values)}",
        "dataset": dataset,
        "config": config,
        "split": f"{values.split} ({len(rows)} of {len(source)} pictures)",
        "protocol": PROTOCOL + (ALIGNED_PROTOCOL if "realblur_psnr" in names else ""),
        "command": shlex.join(argv),
        **_flat(experiments.environment()),
    }
    _report(output, experiment, dataset, provenance, names, rows)


def _source(values, experiment, run):
    from restore_tf.datasets import sources

    same = values.dataset in (None, experiment.dataset)
    dataset = values.dataset or experiment.dataset
    config = values.config or (experiment.config if same else sources.default_config(dataset))
    paths = {
        name: getattr(values, name) or (run.get(name) if same else None)
        for name in ("data_dir", "degraded_dir", "sharp_dir")
    }
    seed = run.get("seed", 0)
    return (
        dataset,
        config,
        sources.open_source(dataset, config, values.split, **paths, seed=seed),
    )


def _origin(experiment, run):
    if "converted" in run:
        converted = run["converted"]
        return f"converted from {', '.join(converted['files'])} ({converted['terms']})"
    return f"recipe {experiment.recipe} on {experiment.dataset}/{experiment.config}"


def _default_output(workdir, dataset, config, split):
    return Path(workdir) / "evaluation" / f"{dataset}_{config}_{split}"


def _empty_pictures(output):
    """The folder for this evaluation's pictures, without those of the one before."""
    folder = output / "pictures"
    if folder.is_dir():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder


def _flat(environment):
    return {
        name: " ".join(f"{k} {v}" for k, v in entry.items()) if isinstance(entry, dict) else entry
        for name, entry in environment.items()
    }


def _report(output, experiment, dataset, provenance, names, rows):
    from restore_tf.evaluation import page, report

    result = report.Evaluation(f"{experiment.model} on {dataset}", provenance, names, rows)
    report.write_csv(output / "scores.csv", result)
    report.write_json(output / "scores.json", result)
    page.write_html(output / "index.html", result)
    print(report.format_table(result))
    print(f"Pictures and every score: {output / 'index.html'} (scores.csv and scores.json beside)")
