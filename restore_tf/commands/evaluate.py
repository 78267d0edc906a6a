"""`evaluate.py`: scores a run on a data set and writes CSV, JSON and an HTML page."""

from __future__ import annotations

import functools
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from restore_tf.commands import cli
from restore_tf.commands.flags import data as data_flags
from restore_tf.commands.flags import model as model_flags
from restore_tf.errors import UserError
from restore_tf.experiments import experiment as experiments
from restore_tf.experiments import papers
from restore_tf.system import outputs, quiet
from restore_tf.system.log import logger

USAGE = """Scores a trained run, beside the degraded input and unsharp masking.
  python evaluate.py --workdir RUN --dataset gopro --data_dir DIR/GOPRO_Large"""

PROTOCOL = (
    "PSNR, SSIM and MSE of 8-bit RGB pictures, clipped and rounded; SSIM (MATLAB) is the 3-D "
    "window that papers print, SSIM (per channel) is scikit-image's; unsharp masking with radius "
    "2, amount 1"
)
_PROTOCOLS = {
    "gmsd": "; GMSD of the luma at half the size",
    "lpips": "; LPIPS v0.1 by AlexNet, whole pictures",
    "lpips_vgg": "; LPIPS v0.1 by VGG16, whole pictures",
    "realblur_psnr": "; aligned PSNR and SSIM by RealBlur's protocol (gain, ECC homography, mask)",
}


SOME_LEFT_OUT = 1
_PICTURES = "pictures"
_FILES = ("scores.csv", "scores.json", "index.html", _PICTURES)


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
        "psnr, ssim_matlab, ssim, mse, gmsd, lpips, lpips_vgg, realblur_psnr, realblur_ssim; by "
        "default the first six, for realblur the last two, too",
        flag_values=values,
    )
    flags.DEFINE_string(
        "output", None, "folder for the results; RUN/evaluation/… by default", flag_values=values
    )
    flags.DEFINE_integer(
        "limit", None, "only the first so many pictures", lower_bound=1, flag_values=values
    )
    flags.DEFINE_boolean(
        "whole", False, "never in tiles, whatever the memory and the network", flag_values=values
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
    workdir = model_flags.workdir(values)
    experiment, run = experiments.read(workdir)
    model_flags.arguments(values)  # its errors come before the work
    from restore_tf.datasets import sources
    from restore_tf.evaluation import score

    dataset, config = _dataset(values, experiment)
    names = values.metrics
    if names is None:
        names = score.METRICS + (score.ALIGNED if dataset == "realblur" else ())
    score.check_names(names)
    missing = score.missing(names)
    for name, why in missing.items() if values.metrics else ():
        raise UserError(f"--metrics {name}: {why}.")
    output = Path(values.output or _default_output(values, dataset, config))
    paths = _paths(values, experiment, run, dataset)
    _check_output(output, paths)
    quiet.import_tensorflow()
    network = experiments.construct(experiment, **_options(values, experiment))
    source = sources.open_source(
        dataset,
        config,
        values.split,
        **paths,
        seed=run.seed,
        output_scale=network.output_scale,
    )
    from restore_tf.inference import restore

    with outputs.staged(output, _FILES, cleared=[_PICTURES]) as staging:
        model = model_flags.load(values, workdir)
        scores = score.evaluate(
            functools.partial(restore.restore, model, whole=values.whole),
            source,
            names,
            values.limit,
            staging / _PICTURES,
            values.pictures,
        )
        provenance = {
            "run": model_flags.name(values),
            "weights": f"{experiment.model}, {_origin(experiment, run)}; "
            f"{model_flags.describe(values)}{', whole pictures' if values.whole else ''}",
            "dataset": dataset,
            "config": config,
            "split": f"{values.split} ({len(scores.rows)} of {len(source)} pictures)",
            **({"left out": scores.left_out} if scores.left_out else {}),
            "protocol": _protocol(names, missing),
            "command": shlex.join(argv),
            **_flat(experiments.environment()),
        }
        title = f"{experiment.model} on {dataset}"
        table = _report(staging, title, provenance, names, scores.rows, missing)
    print(table)
    page = output / "index.html"
    print(f"Pictures and every score: {page} (scores.csv and scores.json beside)")
    if scores.left_out:
        count = len(scores.left_out)
        few = ", ".join(list(scores.left_out)[:3]) + (", …" if count > 3 else "")
        logger.warning("%d of %d pictures left out: %s", count, count + len(scores.rows), few)
        return SOME_LEFT_OUT
    return 0


def _protocol(names, missing):
    """How the numbers were measured."""
    measured = [name for name in names if name not in missing]
    return PROTOCOL + "".join(_PROTOCOLS.get(name, "") for name in measured)


def _options(values, experiment):
    """Constructor arguments of the network, as the flags say."""
    return papers.inference_options(experiment, model_flags.network(values))


def _dataset(values, experiment):
    """(data set, configuration), the run's own by default."""
    from restore_tf.datasets import sources

    dataset = values.dataset or experiment.dataset
    same = dataset == experiment.dataset
    default = experiment.config if same else sources.default_config(dataset)
    return dataset, values.config or default


def _paths(values, experiment, run, dataset):
    """Where the pairs are: as the flags say, else where the run was trained on them."""
    same = dataset == experiment.dataset
    return {
        name: getattr(values, name) or (getattr(run, name) if same else None)
        for name in ("data_dir", "degraded_dir", "sharp_dir")
    }


def _check_output(output, paths):
    """Refuses results in the place of the very pictures that are to be scored."""
    outputs.check_folder(output)
    for flag, given in paths.items():
        for name in _FILES if given else ():
            if Path(given).resolve().is_relative_to((output / name).resolve()):
                raise UserError(
                    f"--{flag} {given}: lies where the results go, {output / name}; pass another "
                    "--output."
                )


def _origin(experiment, run):
    trained = f"recipe {experiment.recipe} on {experiment.dataset}/{experiment.config}"
    return run.origin or trained


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
