"""`restore-tf samples`: shows pairs of a data set, for inspection before a training."""

from __future__ import annotations

import functools
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from absl import flags
from tqdm import tqdm

from restore_tf.commands import cli, training_plan
from restore_tf.commands.flags import data as data_flags
from restore_tf.errors import UserError
from restore_tf.experiments import experiment as experiments
from restore_tf.system import outputs, quiet

USAGE = """Shows degraded and sharp pairs side by side, with their PSNR: a PNG sheet and a page.
Pairs as they are stored:
  restore-tf samples --dataset synthetic --config shake --output DIR
Crops of a training, augmented and with its noise, as a model's recipe cuts them:
  restore-tf samples --dataset gopro --data_dir DIR/GOPRO_Large --model srn --output DIR"""

_PAGE, _SHEET, _PICTURES = "index.html", "samples.png", "pictures"
_SPLITS = ("train", "validation", "test")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
      argv: the program's name and its arguments; the process's own by default.

    Returns:
      The exit code.
    """
    argv = list(sys.argv if argv is None else argv)
    return cli.run_command(functools.partial(_draw, argv=argv), define_flags(), argv, USAGE)


def define_flags() -> flags.FlagValues:
    """Returns the command's flags, each at its default."""
    values = flags.FlagValues()
    data_flags.define(values, "the recipe's, or synthetic,")
    string = lambda *words: flags.DEFINE_string(*words, flag_values=values)  # noqa: E731
    string("model", None, "show this model's training samples: crops, augmented, of its channels")
    string("recipe", None, "the model's recipe; as train.py by default")
    flags.DEFINE_multi_string("set", [], "override: field=value of the recipe", flag_values=values)
    flags.DEFINE_enum("split", "train", _SPLITS, "the pairs to show", flag_values=values)
    string("output", None, "folder for the sheet, the page and the pictures")
    for name, value, least, text in [
        ("count", 24, 1, "the number of pairs"),
        ("crop", None, 1, "cut random crops, as training does: their side in pixels"),
        ("seed", 0, 0, "seed of the crops, and of synthetic training pictures"),
    ]:
        flags.DEFINE_integer(name, value, text, lower_bound=least, flag_values=values)
    return values


def _draw(positional, values, argv):
    if positional:
        raise UserError(f"{positional[0]}: unexpected argument; samples takes flags only.")
    if not values.output:
        raise UserError("--output: missing; name the folder for the pictures.")
    if values.model is None and (values.recipe or values.set):
        raise UserError("--recipe and --set: need --model.")
    outputs.check_folder(values.output)
    experiment, network = _experiment(values)
    dataset, config, source = _source(values, experiment, network)
    samples = _samples(values, experiment, network, source)
    from restore_tf.evaluation import shown_pairs

    output = Path(values.output)
    with outputs.staged(output, (_SHEET, _PAGE, _PICTURES), cleared=[_PICTURES]) as staging:
        pairs = [
            shown_pairs.shown_pair(*pair)
            for pair in tqdm(
                _crops(samples, source, values) if samples else _stored(source, values.count),
                total=min(values.count, len(source)) if not samples else values.count,
                unit="pair",
                disable=None,
            )
        ]
        facts = _facts(values, experiment, source, pairs, argv)
        title = f"{data_flags.described(dataset, config)}, {values.split}"
        _write(staging, title, facts, pairs)
    print(f"{len(pairs)} pairs, degraded input: {facts['PSNR']}")
    print(f"Sheet: {output / _SHEET}; page: {output / _PAGE}")


def _experiment(values):
    """The recipe and its network without weights; None and None where no model is named."""
    if values.model is None:
        return None, None
    if not training_plan.other_backend():
        quiet.import_tensorflow()
    recipe = training_plan.recipe_name(values)
    experiment = experiments.load_recipe(values.model, recipe)
    experiment = experiments.override(experiment, values.set)
    return experiment, experiments.construct(experiment)


def _source(values, experiment, network):
    """(data set, configuration, its pairs)."""
    from restore_tf.datasets import mixture

    dataset, config = data_flags.dataset_of(values, experiment)
    source = mixture.open_pairs(
        dataset,
        config,
        values.split,
        data_dir=values.data_dir,
        degraded_dir=values.degraded_dir,
        sharp_dir=values.sharp_dir,
        seed=values.seed,
        output_scale=network.output_scale if network else None,
    )
    return dataset, config, source


def _samples(values, experiment, network, source):
    """Makes training samples; None where pairs are shown as they are stored."""
    if experiment is None and values.crop is None:
        return None
    from restore_tf.datasets.samples import Samples

    return Samples(
        source,
        crop=values.crop or experiment.crop,
        seed=values.seed,
        augment=experiment.augment if experiment else (),
        channels=network.channels if network else 3,
        output_scale=source.output_scale,
        size_multiple=network.size_multiple if network else None,
    )


def _crops(samples, source, values) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    for number in range(values.count):
        degraded, sharp, _ = samples(number)
        yield source.names[source.pair_of(number, values.seed)], degraded, sharp


def _stored(source, count) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Whole pairs, spread evenly over the source."""
    if not len(source):
        raise UserError("no pairs.")
    for index in np.unique(np.linspace(0, len(source) - 1, min(count, len(source))).astype(int)):
        yield source.names[index], *source.read(int(index))


def _facts(values, experiment, source, pairs, argv):
    finite = [pair.psnr for pair in pairs if np.isfinite(pair.psnr)]
    psnr = (
        f"mean {np.mean(finite):.2f} dB, {min(finite):.2f} to {max(finite):.2f}" if finite else ""
    )
    equal = len(pairs) - len(finite)
    facts = {
        "pairs": f"{len(pairs)} of {len(source)} in the split",
        "shown": "whole, as stored",
        "PSNR": ", ".join(filter(None, [psnr, f"{equal} equal pairs" if equal else ""])),
    }
    if experiment or values.crop:
        crop = values.crop or experiment.crop
        facts["shown"] = f"training samples 0 to {len(pairs) - 1} of seed {values.seed}"
        facts["crop"] = f"{crop} pixels of the degraded picture"
    if experiment:
        facts["shown"] += f", as {experiment.model} by recipe {experiment.recipe} sees them"
        facts["augmentation"] = ", ".join(experiment.augment) or "none"
    if source.output_scale > 1:
        facts["scale"] = (
            f"sharp pictures are {source.output_scale} times as large; PSNR of bicubics"
        )
    return {**facts, "command": shlex.join(argv)}


def _write(folder, title, facts, pairs):
    from restore_tf.evaluation import shown_pairs
    from restore_tf.pictures.files import write_picture

    with outputs.writing(folder):
        outputs.make_folder(folder / _PICTURES)
        listed = []
        for number, pair in enumerate(pairs):
            names = [f"{_PICTURES}/{number:04d}_{kind}.png" for kind in ("degraded", "sharp")]
            for name, pixels in zip(names, (pair.degraded, pair.sharp), strict=True):
                write_picture(folder / name, pixels)
            listed.append((pair, *names))
        subtitle = f"{facts['shown']}; degraded left, sharp right; PSNR {facts['PSNR']}"
        write_picture(folder / _SHEET, shown_pairs.contact_sheet(title, subtitle, pairs))
        shown_pairs.write_page(folder / _PAGE, title, facts, listed)


if __name__ == "__main__":
    sys.exit(main())
