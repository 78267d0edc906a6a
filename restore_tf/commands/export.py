"""`export.py`: turns a run into files that servers and devices run."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from restore_tf.commands import cli
from restore_tf.commands.flags import model as model_flags
from restore_tf.errors import UserError
from restore_tf.experiments import experiment as experiments
from restore_tf.system import quiet

USAGE = """Exports a run; every file is run in a process of its own and compared before it is kept.
  python export.py --workdir RUN --output DIR --format saved_model
  python export.py --workdir RUN --output DIR --format saved_model,tflite --size 256x256,720x1280
  python export.py --workdir RUN --output DIR --format tflite --kinds int8 --calibrate BLURRY
  python export.py --plan --size 720x1280 --fps 30 [--tops 4]"""

FORMATS = ("saved_model", "tflite")
KINDS = ("float32", "float16", "dynamic_int8", "int8", "uint8", "int16x8")
SOME_REFUSED = 1
_TFLITE = "tflite"  # folder of its files
_LEAST_PIXELS = 64 * 96  # exporting.LEAST_MAX_PIXELS, which takes TensorFlow to read


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return cli.run(_export, _flags(), sys.argv if argv is None else argv, USAGE)


def _flags():
    values = flags.FlagValues()
    model_flags.define(values)

    def define(kind, name, default, meaning, *rest):
        getattr(flags, f"DEFINE_{kind}")(name, default, meaning, *rest, flag_values=values)

    define("string", "output", None, "the folder to write to")
    define("list", "format", ["saved_model"], f"of {', '.join(FORMATS)}")
    define("string", "name", None, "the model's name for TF Serving; the network's by default")
    define("integer", "max_pixels", None, "SavedModel: larger pictures are refused", _LEAST_PIXELS)
    define("list", "size", ["256x256"], "TFLite: HEIGHTxWIDTH of the files of fixed shape")
    define("list", "kinds", list(KINDS[:-1]), f"TFLite: of {', '.join(KINDS)}")
    define("string", "calibrate", None, "degraded pictures to calibrate and compare on; embedded")
    define("string", "sharp", None, "their sharp partners, to score against")
    define("float", "max_psnr_drop", 0.3, "TFLite: refuse files that lose more, in dB", 0)
    define("boolean", "overwrite", False, "replace existing TFLite files")
    define("boolean", "plan", False, "say what fits into a frame's time, at --size and --fps")
    define("float", "fps", 30.0, "--plan: frames a second", 0.01)
    define("float", "tops", None, "--plan: the device's, in 8 bits; in place of measuring", 0.001)
    define("float", "utilisation", None, "--plan --tops: the share of them that is used", 0.001, 1)
    return values


def _export(positional, values):
    if positional:
        raise UserError(f"{positional[0]}: unexpected argument; export.py takes flags only.")
    sizes = [_size(text) for text in values.size]
    if values.plan:
        return _plan(sizes, values)
    _check_words("format", values.format, FORMATS)
    _check_words("kinds", values.kinds, KINDS)
    if values.output is None:
        raise UserError("--output: missing; expected the folder to write to.")
    output = Path(values.output)
    if output.exists() and not output.is_dir():
        raise UserError(f"{output}: is a file; expected a folder.")
    recipe, _ = experiments.read(model_flags.workdir(values))
    from restore_tf.export import record, samples
    from restore_tf.serving import deployment

    # What can be wrong is said before the work.
    record.read(output)
    name = values.name or recipe.model
    deployment.check_name(name)
    if "tflite" in values.format and not values.overwrite:
        _refuse_existing(output, recipe.model, sizes, values)
    pictures = samples.load(values.calibrate, values.sharp)
    quiet.import_tensorflow()
    entries, refused = [], []
    if "saved_model" in values.format:
        entries.append(_saved_model(output, name, pictures, values))
        record.write(output, values.workdir, model_flags.describe(values), entries)
    if "tflite" in values.format:
        rows = _tflite(output, [*sizes, None], pictures, values)
        entries += [row for row in rows if row["written"]]
        refused = [row for row in rows if not row["written"]]
        record.write(output, values.workdir, model_flags.describe(values), entries)
    if entries:
        print(f"{output / record.FILE_NAME} has all figures.")
    return SOME_REFUSED if refused else 0


def _refuse_existing(output, model, sizes, values):
    from restore_tf.export.tflite import make

    given = model_flags.arguments(values)
    for size in [*sizes, None]:
        for kind in make.kinds_of(size, values.kinds):
            path = output / _TFLITE / make.file_name(model, size, kind, given)
            if path.exists():
                raise UserError(f"{path}: exists; pass --overwrite or another --output.")


def _saved_model(output, name, pictures, values):
    from restore_tf.export import checked, saved_model
    from restore_tf.serving import deployment, warm_up

    model = model_flags.load(values)
    precision = "float32" if model.compute_dtype == "float32" else "bfloat16"
    most = values.max_pixels or saved_model.MAX_PIXELS

    def finish(directory):
        count = warm_up.write_requests(directory, name, channels=model.channels, max_pixels=most)
        return {"warm_up_requests": count}

    entry = checked.export_saved_model(
        model,
        output,
        pictures,
        precision=precision,
        max_pixels=most,
        finish=finish,
    )
    deployment.write(output, name)
    by_size, levels, *_ = entry["differences"].values()
    print(f"{output / entry['path']}: {_megabytes(entry['bytes'])}, {precision}")
    for size, difference in by_size.items():
        print(f"  serving_default {size}: differs from the Keras model by at most {difference:.2g}")
    print(f"  serving_bytes: differs by at most {levels:g} of 255 levels")
    print(
        f"  deployment files in {output / 'serving'}; try it: restore-tf serve --model_dir "
        f"{output / checked.SAVED_MODELS} --model_name {name}"
    )
    return entry


def _tflite(output, sizes, pictures, values):
    from restore_tf.export.tflite import make

    rows = make.export(
        values.workdir,
        model_flags.arguments(values),
        output / _TFLITE,
        sizes=sizes,
        kinds=values.kinds,
        samples=pictures,
        max_psnr_drop=values.max_psnr_drop,
    )
    return [{"path": f"{_TFLITE}/{row['file']}", "format": "tflite", **row} for row in rows]


def _plan(sizes, values):
    if len(sizes) != 1:
        raise UserError(f"--size {','.join(values.size)}: --plan takes one size.")
    from restore_tf.export.plan import table

    share = {} if values.utilisation is None else {"utilisation": values.utilisation}
    print(table.plan(*sizes[0], values.fps, workdir=values.workdir, tops=values.tops, **share))
    return 0


def _size(text):
    """(height, width) of "720x1280"."""
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if found is None:
        raise UserError(f"--size {text}: expected HEIGHTxWIDTH in pixels, such as 720x1280.")
    return int(found[1]), int(found[2])


def _check_words(flag, words, known):
    for word in words:
        if word not in known:
            raise UserError(f"--{flag} {word}: expected some of {', '.join(known)}.")
    if not words:
        raise UserError(f"--{flag}: empty; expected some of {', '.join(known)}.")


def _megabytes(count):
    return f"{count / 1e6:.1f} MB"
