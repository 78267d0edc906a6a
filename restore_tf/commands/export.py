"""`export.py`: turns a run into files that servers and devices run."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from restore_tf.commands import cli, export_web
from restore_tf.commands.flags import model as model_flags
from restore_tf.errors import UserError
from restore_tf.experiments import experiment as experiments
from restore_tf.system import outputs, quiet
from restore_tf.system.log import logger

USAGE = """Exports a run; every file is run in a process of its own and compared before it is kept.
  python export.py --workdir RUN --output DIR --format saved_model
  python export.py --workdir RUN --output DIR --format saved_model,tflite --size 256x256,720x1280
  python export.py --workdir RUN --output DIR --format tflite --kinds int8 --calibrate DEGRADED
  python export.py --workdir RUN --output DIR --format openvino --kinds float32,int8
  python export.py --workdir RUN --output DIR --format web
  python export.py --plan --size 720x1280 --fps 30 [--tops 4]"""

FORMATS = ("saved_model", "tflite", "openvino", "web")
KINDS = ("float32", "float16", "dynamic_int8", "int8", "uint8", "mixed_int8", "int16x8")
SOME_REFUSED = 1
_DEVICES = ("tflite", "openvino")  # formats, and folders of their files
_SERVING = "serving"  # of the files around the SavedModel
_LEAST_PIXELS = 64 * 96  # exporting.LEAST_MAX_PIXELS, which takes TensorFlow to read


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
      argv: the program's name and its arguments; the process's own by default.

    Returns:
      The exit code.
    """
    return cli.run_command(_export, define_flags(), sys.argv if argv is None else argv, USAGE)


def define_flags() -> flags.FlagValues:
    """Returns the command's flags, each at its default."""
    values = flags.FlagValues()
    model_flags.define(values)

    def define(kind, name, default, meaning, *rest):
        getattr(flags, f"DEFINE_{kind}")(name, default, meaning, *rest, flag_values=values)

    define("string", "output", None, "the folder for the exported files")
    define("list", "format", ["saved_model"], f"of {', '.join(FORMATS)}")
    define("string", "name", None, "the model's name for TF Serving; the run's model by default")
    most = "SavedModel: refuse pictures of more pixels, height times width; 8,300,000 by default"
    define("integer", "max_pixels", None, most, _LEAST_PIXELS)
    define("list", "size", ["256x256"], "HEIGHTxWIDTH of the TFLite and OpenVINO files")
    kinds = f"TFLite: of {', '.join(KINDS)}; web: two of them; OpenVINO: float32, int8"
    define("list", "kinds", list(KINDS[:-2]), kinds)
    define("string", "calibrate", None, "degraded pictures to calibrate and compare on; embedded")
    define("string", "sharp", None, "their sharp partners, to score against")
    define("float", "max_psnr_drop", 0.3, "TFLite, OpenVINO: refuse files that lose more, in dB", 0)
    define("boolean", "overwrite", False, "replace files for devices and pages of earlier exports")
    export_web.define_flags(values)
    define("boolean", "plan", False, "list which networks fit into a frame at --size and --fps")
    define("float", "fps", 30.0, "--plan: frames a second", 0.01)
    define("float", "tops", None, "--plan: estimate from a device's int8 TOPS", 0.001)
    used = "--plan --tops: the share of the TOPS in use; 0.2 by default"
    define("float", "utilisation", None, used, 0.001, 1)
    return values


def _export(positional, values):
    if positional:
        raise UserError(f"{positional[0]}: unexpected argument; export.py takes flags only.")
    sizes = [_size(text) for text in values.size]
    if values.plan:
        return _plan(sizes, values)
    _check_words("format", values.format, FORMATS)
    _check_words("kinds", values.kinds, KINDS)
    wanted = {form: _wanted(form, sizes, values) for form in _DEVICES if form in values.format}
    if values.output is None:
        raise UserError("--output: missing; expected the folder to write to.")
    output = Path(values.output)
    run = model_flags.workdir(values)
    recipe, _ = experiments.read(run)
    from restore_tf.export import record, samples
    from restore_tf.serving import deployment

    # All checks come before the work.
    outputs.check_folder(output)
    record.read(output)
    name = values.name or recipe.model
    deployment.check_name(name)
    _check_places(output, recipe.model, wanted, values)
    library = export_web.prepare(output, values) if "web" in values.format else {}
    pictures = samples.load(values.calibrate, values.sharp)
    quiet.import_tensorflow()
    if wanted or "web" in values.format:
        _check_sizes(sizes, experiments.construct(recipe))
    written, problems = 0, []
    if "saved_model" in values.format:
        with _full_disk(output):
            entry = _saved_model(output, name, run, pictures, values)
        record.write(output, run, model_flags.describe(values), [entry])
        written += 1
    for form, kinds in wanted.items():
        for entries, refused in _device_files(form, output, run, kinds, pictures, values):
            problems += refused
            record.write(output, run, model_flags.describe(values), entries)
            written += len(entries)
    if "web" in values.format:
        entries, refused = export_web.export(output, run, sizes, pictures, library, values)
        problems += ["web"] * refused
        record.write(output, run, model_flags.describe(values), entries)
        written += len(entries)
    if written:
        print(f"{output / record.FILE_NAME} has all figures.")
    return SOME_REFUSED if problems else 0


def _wanted(form, sizes, values):
    """{size: kinds} of a format's files; a size is (height, width), or None for any."""
    make = _maker(form)
    if form == "tflite":
        return {size: make.kinds_of(size, values.kinds) for size in [*sizes, None]}
    chosen = values.kinds if values["kinds"].present else make.KINDS
    if "tflite" in values.format or "web" in values.format:  # they make others, too
        chosen = [kind for kind in chosen if kind in make.KINDS]
    make.check_kinds(chosen)
    return dict.fromkeys(sizes, list(dict.fromkeys(chosen)))


def _maker(form):
    """The module that makes a format's files."""
    if form == "tflite":
        from restore_tf.export.tflite import make
    else:
        from restore_tf.export.openvino import make
    return make


def _check_places(output, model, wanted, values):
    """Refuses to replace files of other origin, or any file without --overwrite."""
    earlier = outputs.Record(output)
    if "saved_model" in values.format:
        earlier.check_name(_SERVING)
        outputs.check_folder(output / "saved_model")
    given = model_flags.arguments(values)
    for form, kinds in wanted.items():
        make = _maker(form)
        for size, kind in ((size, kind) for size, some in kinds.items() for kind in some):
            path = output / form / make.file_name(model, size, kind, given)
            for ending in (*make.ENDINGS, ".json"):
                earlier.check_overwrite(path.with_suffix(ending), values.overwrite)


def _check_sizes(sizes, network):
    multiple = network.size_multiple
    for size in sizes:
        if any(side % multiple for side in size):
            raise UserError(
                f"--size {_named(size)}: {network.name} takes multiples of {multiple} pixels."
            )


@contextlib.contextmanager
def _full_disk(output):
    """Turns TensorFlow's errors of a full or read-only disk into one line."""
    import tensorflow as tf

    try:
        with outputs.writing(output):
            yield
    except (tf.errors.PermissionDeniedError, tf.errors.ResourceExhaustedError) as error:
        raise UserError(f"{output}: cannot be written ({outputs.reason(error)}).") from None


def _saved_model(output, name, run, pictures, values):
    from restore_tf.export import checked, saved_model
    from restore_tf.serving import deployment, warm_up

    model = model_flags.load(values, run)
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
    with outputs.staged(output, [_SERVING], cleared=[_SERVING]) as staging:
        deployment.write(staging, name)
    by_size, levels, *_ = entry["differences"].values()
    print(f"{output / entry['path']}: {_megabytes(entry['bytes'])}, {precision}")
    for size, difference in by_size.items():
        print(f"  serving_default {size}: differs from the Keras model by at most {difference:.2g}")
    print(f"  serving_bytes: differs by at most {levels:g} of 255 levels")
    print(
        f"  deployment files in {output / _SERVING}; try it: restore-tf serve --model_dir "
        f"{output / checked.SAVED_MODELS} --model_name {name}"
    )
    return entry


def _device_files(form, output, run, wanted, pictures, values):
    """Yields (entries of written files, refused ones) of one size after the other.

    Files are moved into place and recorded before the next size begins. A size that fails is
    named, and the others are made.
    """
    make = _maker(form)
    for size, kinds in wanted.items():
        try:
            with outputs.staged(output) as staging:
                rows = make.export(
                    run,
                    model_flags.arguments(values),
                    staging / form,
                    sizes=[size],
                    kinds=kinds,
                    samples=pictures,
                    max_psnr_drop=values.max_psnr_drop,
                )
        except UserError as error:
            logger.warning("--format %s of %s: %s", form, _named(size), error)
            yield [], [_named(size)]
            continue
        entries = [{"path": f"{form}/{row['file']}", "format": form, **row} for row in rows]
        yield (
            [entry for entry in entries if entry["written"]],
            [entry for entry in entries if not entry["written"]],
        )


def _named(size):
    return "any size" if size is None else "x".join(map(str, size))


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
