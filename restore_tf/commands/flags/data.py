"""The flags that select the pairs of a command."""

from __future__ import annotations

from absl import flags

from restore_tf.errors import UserError

FOLDERS = ("data_dir", "degraded_dir", "sharp_dir")


def define(values: flags.FlagValues, default_text: str) -> None:
    """Defines --dataset, --config, --data_dir, --degraded_dir and --sharp_dir.

    Args:
      values: the command's flags.
      default_text: the default data set, for the help of --dataset.
    """
    text = {
        "dataset": f"data set: gopro, reds, hide, realblur, blur_dataset, folder or synthetic, or "
        f"several as SET:CONFIG@WEIGHT,SET:CONFIG@WEIGHT,…; {default_text} by default",
        "config": "the data set's configuration, e.g. blur or blur_gamma for gopro",
        "data_dir": "the data set's published folder layout, or a directory of prepared records; "
        "for synthetic, a folder of sharp photos to use in place of the embedded ones; for several "
        "sets, SET=FOLDER,SET=FOLDER,…",
        "degraded_dir": "with --dataset folder: the degraded pictures",
        "sharp_dir": "with --dataset folder: the sharp pictures, of the same names",
    }
    for name, help_text in text.items():
        flags.DEFINE_string(name, None, help_text, flag_values=values)


def dataset_of(values: flags.FlagValues, experiment=None) -> tuple[str, str]:
    """Returns (data set, configuration) of the flags, else of the experiment, else synthetic.

    A mixture is spelled out with its configurations and normalised weights.

    Args:
      values: the command's flags.
      experiment: the `Experiment` whose data set is the default; None for none.

    Raises:
      UserError: no such set, or a malformed mixture.
    """
    from restore_tf.datasets import mixture, names

    dataset = values.dataset or (experiment.dataset if experiment else "synthetic")
    if not mixture.is_mixture(dataset):
        same = experiment is not None and dataset == experiment.dataset
        default = experiment.config if same else names.default_config(dataset)
        return dataset, values.config or default
    if values.config:
        raise UserError(
            f"--config {values.config}: {dataset} has a configuration for each set; leave it out."
        )
    parts = mixture.parse(dataset)
    if len(parts) == 1:
        return parts[0].dataset, parts[0].config
    return mixture.canonical(parts), mixture.CONFIG


def described(dataset: str, config: str) -> str:
    """Names a data set with its configuration, such as "gopro/blur"; a mixture's text has both.

    Args:
      dataset: the data set, or a mixture's text.
      config: its configuration.
    """
    return dataset if "," in dataset else f"{dataset}/{config}"


def mixtures_folders(values: flags.FlagValues, dataset: str) -> dict[str, str | None]:
    """Returns {"data_dir": text} of a mixture's folders, made absolute; {} without any.

    Args:
      values: the command's flags.
      dataset: the data set, or a mixture's text.

    Raises:
      UserError: --data_dir is not of a mixture's form, or names another set.
    """
    from restore_tf.datasets import mixture

    if not mixture.is_mixture(dataset) or not values.data_dir:
        return {}
    roots = mixture.parse_roots(values.data_dir, mixture.parse(dataset))
    return {"data_dir": mixture.written_roots(roots)}


def each(values: flags.FlagValues, experiment, run) -> list[tuple[str, str, dict]]:
    """Returns (data set, configuration, {flag: folder}) of each set to score on: a mixture's parts.

    Folders come from the flags, else from the run if it was trained on that set.

    Args:
      values: the command's flags.
      experiment: the run directory's `Experiment`.
      run: the run directory's `Run`.

    Raises:
      UserError: see `dataset_of` and `mixtures_folders`.
    """
    from restore_tf.datasets import mixture

    dataset, config = dataset_of(values, experiment)
    if not mixture.is_mixture(dataset):
        parts = [(dataset, config, values.data_dir)]
    else:
        found = mixture.parse(dataset)
        roots = mixture.parse_roots(values.data_dir, found)
        parts = [(part.dataset, part.config, roots.get(part.label)) for part in found]
    several = []
    for dataset, config, data_dir in parts:
        known = _known_folders(experiment, run, dataset, config)
        given = {name: getattr(values, name) for name in FOLDERS} | {"data_dir": data_dir}
        folders = {name: given[name] or known.get(name) for name in FOLDERS}
        several.append((dataset, config, folders))
    return several


def _known_folders(experiment, run, dataset, config):
    """{flag: folder} of the run's training on this set; {} where it was not trained on it."""
    from restore_tf.datasets import mixture

    same = {name: getattr(run, name) for name in FOLDERS}
    if not mixture.is_mixture(experiment.dataset):
        return same if dataset == experiment.dataset else {}
    roots = mixture.parse_roots(run.data_dir, mixture.parse(experiment.dataset))
    others = [root for label, root in roots.items() if label.startswith(f"{dataset}:")]
    same["data_dir"] = roots.get(f"{dataset}:{config}") or next(iter(others), None)
    return same if dataset == "folder" else {"data_dir": same["data_dir"]}
