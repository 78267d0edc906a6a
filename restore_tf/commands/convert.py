"""`convert.py`: turns an authors' checkpoint into a run directory."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import flags

from restore_tf.commands import cli
from restore_tf.errors import UserError
from restore_tf.experiments import experiment as experiments
from restore_tf.experiments import papers
from restore_tf.system import outputs, quiet
from restore_tf.system.log import logger

USAGE = """Converts published weights into a run directory, which evaluate and restore take.
  python convert.py --model srn_lstm --checkpoint deblur.model-523000 --output runs/srn_published
  python convert.py --model mprnet --task deblurring --checkpoint model_deblurring.pth \\
    --output runs/mprnet_published"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return cli.run(_convert, _flags(), sys.argv if argv is None else argv, USAGE)


def _flags():
    values = flags.FlagValues()
    string = lambda *words: flags.DEFINE_string(*words, flag_values=values)  # noqa: E731
    string("model", None, "srn_lstm, srn_gray, srn_color or mprnet")
    string("task", "deblurring", "what MPRNet was trained for: deblurring, denoising or deraining")
    string("checkpoint", None, "SRN: the path without .index; MPRNet: the .pth file")
    string("output", None, "the run directory to make; must not exist")
    flags.DEFINE_multi_string(
        "set", [], "network.FIELD=VALUE, for networks of another width", flag_values=values
    )
    return values


def _convert(positional, values):
    if positional:
        raise UserError(f"{positional[0]}: unexpected argument; convert.py takes flags only.")
    for name in ("model", "checkpoint", "output"):
        if getattr(values, name) is None:
            raise UserError(f"--{name}: missing; see --help.")
    output = Path(values.output)
    outputs.check_folder(output)
    if output.is_dir() and any(output.iterdir()):
        raise UserError(f"{output}: exists; pass another --output.")
    quiet.import_tensorflow()
    experiment, paper = _experiment(values)
    model = experiments.build(experiment)
    paper.load_checkpoint(model, values.checkpoint)
    source = {
        "files": {path.name: _sha256(path) for path in paper.files(values.checkpoint)},
        "terms": paper.TERMS,
        "identified": paper.identify(model),
    }
    _write(output, experiment, model, source, values)
    if source["identified"]:
        print(f"These are {source['identified']}.")
    if paper.NON_COMMERCIAL:
        logger.warning("%s.", paper.TERMS)
    print(f"Converted {len(model.weights)} weights into {output}; each was read back and is equal.")
    print(f"Next: python restore.py PICTURE --workdir {output} --output DIR")


def _experiment(values):
    """The recipe whose network the checkpoint holds, and its paper's converter."""
    paper = papers.converter(values.model)
    if values.task not in paper.TASKS:
        raise UserError(f"--task {values.task}: {values.model} has {', '.join(paper.TASKS)}.")
    recipe = experiments.load_recipe(values.model, paper.TASKS[values.task])
    return experiments.override(recipe, values.set), paper


def _write(output, experiment, model, source, values):
    """Writes the run directory aside, checks every weight, then puts it into place."""
    from restore_tf.experiments.run_directory import BEST
    from restore_tf.weights.run import load_model

    with outputs.staged(output) as staging:
        run = experiments.Run(converted=source, overrides=tuple(values.set))
        experiments.write(staging, experiment, run)
        with outputs.writing(output):
            model.save_weights(staging / BEST)
        for kept, read in zip(model.weights, load_model(staging).weights, strict=True):
            if kept.path != read.path or not np.array_equal(kept.numpy(), read.numpy()):
                raise UserError(f"{kept.path}: read back differently; nothing was written.")


def _sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
