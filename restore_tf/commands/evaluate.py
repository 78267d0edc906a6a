"""`evaluate.py`: scores a run on a data set and writes CSV, JSON and an HTML page."""

from __future__ import annotations

import functools
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from absl import flags

from restore_tf.commands import cli
from restore_tf.commands.flags import data as data_flags
from restore_tf.commands.flags import model as model_flags
from restore_tf.commands.flags import pixels as pixels_flags
from restore_tf.errors import UserError
from restore_tf.experiments import experiment as experiments
from restore_tf.experiments import papers
from restore_tf.system import outputs, quiet
from restore_tf.system.log import logger

USAGE = """Scores a trained run, beside the degraded input and unsharp masking.
  python evaluate.py --workdir RUN --dataset gopro --data_dir DIR/GOPRO_Large
A run that was trained on several data sets is scored on each of them."""

PROTOCOL = (
    "PSNR, SSIM and MSE of 8-bit RGB pictures, clipped and rounded; SSIM (MATLAB) is the 3-D "
    "window that papers print, SSIM (per channel) is scikit-image's; unsharp masking with radius "
    "2, amount 1"
)
_PROTOCOLS = {
    "gmsd": "; GMSD of the luma at half the size",
    "lpips": "; LPIPS v0.1 by AlexNet, whole pictures",
    "lpips_vgg": "; LPIPS v0.1 by VGG16, whole pictures",
    "psnr_y": "; Y by MATLAB's rgb2ycbcr, rounded to 8 bits; as many pixels cut at each border as "
    "the picture was enlarged",
    "realblur_psnr": "; aligned PSNR and SSIM by RealBlur's protocol (gain, ECC homography, mask)",
}


SOME_LEFT_OUT = 1
_PICTURES = "pictures"
_FILES = ("scores.csv", "scores.json", "index.html", _PICTURES)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
      argv: the program's name and its arguments; the process's own by default.

    Returns:
      The exit code.
    """
    argv = list(sys.argv if argv is None else argv)
    body = functools.partial(_evaluate, argv=argv)
    return cli.run_command(body, define_flags(), argv, USAGE)


def define_flags() -> flags.FlagValues:
    """Returns the command's flags, each at its default."""
    values = flags.FlagValues()
    model_flags.define(values)
    pixels_flags.define_seed(values)
    data_flags.define(values, "the run's training set")
    flags.DEFINE_string("split", "test", "train, validation or test", flag_values=values)
    flags.DEFINE_list(
        "metrics",
        None,
        "psnr, ssim_matlab, ssim, mse, gmsd, lpips, lpips_vgg, psnr_y, ssim_y, psnr_shaved, "
        "realblur_psnr, realblur_ssim; by default the first six, psnr_y, ssim_y "
        "and psnr_shaved for networks that enlarge, the last two for realblur",
        flag_values=values,
    )
    flags.DEFINE_string(
        "output", None, "folder for the results; RUN/evaluation/… by default", flag_values=values
    )
    flags.DEFINE_integer(
        "limit",
        None,
        "score only the first N pictures; all by default",
        lower_bound=1,
        flag_values=values,
    )
    flags.DEFINE_boolean("whole", False, "never restore in tiles", flag_values=values)
    flags.DEFINE_integer(
        "pictures",
        100,
        "write the files of the N worst pictures for the page's sliders",
        lower_bound=0,
        flag_values=values,
    )
    return values


class _Job(NamedTuple):
    """One data set to score on, and where the results go."""

    dataset: str
    config: str
    folders: dict[str, str | None]
    metrics: Sequence[str]
    output: Path


def _evaluate(positional, values, argv):
    if positional:
        raise UserError(f"{positional[0]}: unexpected argument; evaluate.py takes flags only.")
    workdir = model_flags.workdir(values)
    experiment, run = experiments.read(workdir)
    model_flags.arguments(values)  # raises its errors before the work
    jobs = _jobs(values, experiment, run)
    quiet.import_tensorflow()
    network = experiments.construct(experiment, **_options(values, experiment))
    from restore_tf.datasets import sources

    opened = [
        sources.open_source(
            job.dataset,
            job.config,
            values.split,
            **job.folders,
            seed=run.seed,
            output_scale=network.output_scale,
        )
        for job in jobs
    ]
    if values.metrics is None and network.output_scale > 1:
        from restore_tf.evaluation import score

        jobs = [job._replace(metrics=(*job.metrics, *score.ENLARGED)) for job in jobs]
    for job, source in zip(jobs, opened, strict=True):
        _check_not_among(source, job.output)
    model = model_flags.load(values, workdir)
    codes = [
        _score(values, experiment, run, model, source, job, argv)
        for job, source in zip(jobs, opened, strict=True)
    ]
    return max(codes)


def _jobs(values, experiment, run):
    """The data sets to score on: of a mixture, every part."""
    from restore_tf.evaluation import score

    several = data_flags.each(values, experiment, run)
    jobs = []
    for dataset, config, folders in several:
        names = values.metrics
        if names is None:
            names = score.METRICS + (score.ALIGNED if dataset == "realblur" else ())
        score.check_names(names)
        for name, why in score.missing(names).items() if values.metrics else ():
            raise UserError(f"--metrics {name}: {why}.")
        output = Path(values.output or _default_output(values, dataset, config))
        if values.output and len(several) > 1:
            output /= f"{dataset}_{config}"
        _check_output(output, folders)
        jobs.append(_Job(dataset, config, folders, names, output))
    return jobs


def _score(values, experiment, run, model, source, job, argv):
    """Scores one data set; returns the exit code."""
    from restore_tf.evaluation import score
    from restore_tf.inference import restore

    with outputs.staged(job.output, _FILES, cleared=[_PICTURES]) as staging:
        scores = score.evaluate(
            functools.partial(restore.restore, model, whole=values.whole, seed=values.seed),
            source,
            job.metrics,
            values.limit,
            staging / _PICTURES,
            values.pictures,
        )
        missing = score.missing(job.metrics)
        provenance = {
            "run": model_flags.name(values),
            "weights": f"{experiment.model}, {_origin(experiment, run)}; "
            f"{model_flags.describe(values)}{', whole pictures' if values.whole else ''}",
            "dataset": job.dataset,
            "config": job.config,
            "split": f"{values.split} ({len(scores.rows)} of {len(source)} pictures)",
            **({"left out": scores.left_out} if scores.left_out else {}),
            "protocol": _protocol(job.metrics, missing),
            "command": shlex.join(argv),
            **_flat(experiments.environment()),
        }
        title = f"{experiment.model} on {job.dataset}"
        table = _report(staging, title, provenance, job.metrics, scores.rows, missing)
    print(table)
    page = job.output / "index.html"
    print(f"Pictures and every score: {page} (scores.csv and scores.json beside)", flush=True)
    if experiment.network.get("links"):
        print(f"What each link adds: restore-tf chain --table {model_flags.name(values)}")
    if not scores.left_out:
        return 0
    count = len(scores.left_out)
    few = ", ".join(list(scores.left_out)[:3]) + (", …" if count > 3 else "")
    logger.warning("%d of %d pictures left out: %s", count, count + len(scores.rows), few)
    return SOME_LEFT_OUT


def _protocol(names, missing):
    """Describes how the scores were measured."""
    measured = [name for name in names if name not in missing]
    return PROTOCOL + "".join(_PROTOCOLS.get(name, "") for name in measured)


def _options(values, experiment):
    """Constructor arguments of the network, from the flags."""
    return papers.inference_options(experiment, model_flags.network(values))


def _check_output(output, paths):
    """Refuses an output folder whose files would replace the pictures to be scored."""
    outputs.check_folder(output)
    for flag, given in paths.items():
        for name in _FILES if given else ():
            if Path(given).resolve().is_relative_to((output / name).resolve()):
                raise UserError(
                    f"--{flag} {given}: is where the results go, {output / name}; pass another "
                    "--output."
                )


def _check_not_among(source, output):
    """Refuses an output folder among the pictures, where the next evaluation would find it."""
    pairs = getattr(source, "pairs", ())
    for paths in zip(*[(pair.degraded, pair.sharp) for pair in pairs], strict=True):
        folder = os.path.commonpath([os.path.realpath(path.parent) for path in paths])
        if Path(os.path.realpath(output)).is_relative_to(folder):
            raise UserError(
                f"{output}: is among the pictures to be scored, in {folder}; pass another --output."
            )


def _origin(experiment, run):
    data = data_flags.described(experiment.dataset, experiment.config)
    return run.origin or f"recipe {experiment.recipe} on {data}"


def _default_output(values, dataset, config):
    """In the run directory; for published weights, in runs/NAME of the current folder."""
    run = values.workdir or Path("runs") / model_flags.name(values)
    return Path(run) / "evaluation" / f"{dataset}_{config}_{values.split}"


def _flat(environment):
    return {
        name: " ".join(f"{k} {v}" for k, v in entry.items()) if isinstance(entry, dict) else entry
        for name, entry in environment.items()
    }


def _report(folder, *fields):
    """Writes the scores as CSV, JSON and a page; returns the table to print."""
    from restore_tf.evaluation import page, report

    result = report.Evaluation(*fields)
    with outputs.writing(folder):
        report.write_csv(folder / "scores.csv", result)
        report.write_json(folder / "scores.json", result)
        page.write_html(folder / "index.html", result)
    return report.format_table(result)
