"""Exports a SavedModel: written to a temporary folder, run in a fresh process, compared with the
Keras model on real crops, and only then moved into place.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from restore_tf.errors import UserError
from restore_tf.export import fresh_process, saved_model
from restore_tf.export.samples import Samples
from restore_tf.inference.restore import restore
from restore_tf.system.record import sha256

SAVED_MODELS = "saved_model"

# Share of the image range. The same kernels run in both, but not always with the same blocking.
_TOLERANCE = {"float32": 1e-5, "bfloat16": 2e-2}
# Of the values of a network that is not continuous: behind a threshold or a rounding the last bit
# of a float, which processes do not share, can become a level.
_SHARE = 0.99
_SIZES = [(64, 96), (45, 61), (1, 1)]  # a multiple of every network's; an odd one; the least
_FILE_SIZE = (53, 70)
LEAST_MAX_PIXELS = max(height * width for height, width in _SIZES)


def export_saved_model(
    model,
    directory: str | os.PathLike,
    samples: Samples,
    *,
    precision: str = "float32",
    max_pixels: int = saved_model.MAX_PIXELS,
    finish: Callable[[Path], Mapping[str, Any]] = lambda path: {},
) -> dict[str, Any]:
    """Writes the next version of a SavedModel, after checking that it equals the Keras model.

    Args:
      model: a network with its weights.
      directory: the export's folder; the SavedModel becomes `saved_model/<version>` in it, one
        above the highest existing version, which TF Serving loads by itself.
      samples: pictures that the two are compared on.
      precision: of the network, "float32" or "bfloat16".
      max_pixels: as `saved_model.write`'s; at least 64x96, the largest crop of the check.
      finish: takes the checked SavedModel's path and adds files to it; the entries that it returns
        are kept in the record.

    Returns:
      The record's entry: path, signatures, operations, sizes, checksums and differences.

    Raises:
      UserError: it does not run, its output differs, or `max_pixels` is too small for the check;
        nothing is written then.
    """
    if max_pixels < LEAST_MAX_PIXELS:
        raise UserError(
            f"--max_pixels {max_pixels}: expected at least {LEAST_MAX_PIXELS}, the pixels of the "
            "largest crop that the SavedModel is tried on."
        )
    versions = Path(directory) / SAVED_MODELS
    with _staging(directory) as staging:
        written = staging / "1"
        saved_model.write(model, written, max_pixels)
        differences = _compare(model, written, samples)
        check_differences(differences, precision)
        extra = finish(written)
        entry = {
            "format": "saved_model",
            "precision": precision,
            "signatures": _signatures(model),
            "max_pixels": max_pixels,
            "parameters": model.count_params(),
            "operations": saved_model.operations(written),
            "differences": differences,
            **extra,
            **_files(written),
        }
        versions.mkdir(exist_ok=True)
        place = versions / str(_next_version(versions))
        os.rename(written, place)  # in one step: TF Serving may be watching
    return {"path": f"{SAVED_MODELS}/{place.name}", **entry}


def _signatures(model):
    """Describes the inputs and outputs of `saved_model.write`'s signatures."""
    return {
        "serving_default": {
            "images": f"float32 (batch, height, width, {model.channels}) in [0, 1]",
            "restored": "float32, the same shape",
        },
        "serving_bytes": {
            "image_bytes": "string (batch,): JPEG or PNG files",
            "restored_bytes": "string (batch,): PNG files",
        },
    }


def _next_version(versions):
    return 1 + max((int(p.name) for p in versions.iterdir() if p.name.isdigit()), default=0)


def _compare(model, directory, samples):
    """Largest differences between the SavedModel in a fresh process and the Keras model here."""
    batches = [samples.crops(size, 2, model)[0] for size in _SIZES]
    pictures = samples.crops(_FILE_SIZE, 2, dtype=np.uint8)[0]
    files = [_encoded(pictures[0], "PNG"), _encoded(pictures[-1], "JPEG")]
    restored, encoded = fresh_process.run_saved_model(directory, batches, files)
    share = 1.0 if model.continuous else _SHARE
    by_size = {
        f"{height}x{width}": _largest(
            found, np.stack([restore(model, image, whole=True) for image in given]), share
        )
        for (height, width), given, found in zip(_SIZES, batches, restored, strict=True)
    }
    levels = [
        _largest(decoded(found), restore(model, decoded(file), whole=True), share)
        for file, found in zip(files, encoded, strict=True)
    ]
    return {
        "serving_default, largest by height and width, image range 1": by_size,
        "serving_bytes, largest of 255 levels": max(levels),
        "compared with": f"the Keras model, on crops of {samples.origin}"
        + ("" if model.continuous else f"; {share:.1%} of the values, as it is not continuous"),
        "run by": "TensorFlow in a fresh process, as a session, without this package",
    }


def check_differences(differences, precision) -> None:
    """Checks that a SavedModel's output equals the network's.

    Args:
      differences: first {size: difference, as a share of the image range}, then the difference in
        levels of 255; further entries are ignored.
      precision: "float32" or "bfloat16".

    Raises:
      UserError: it differs by more than 1e-5 of the image range or 1 level (float32), 2e-2 or 5
        levels (bfloat16).
    """
    by_size, levels, *_ = differences.values()
    worst, allowed = max(by_size.values()), _TOLERANCE[precision]
    # Not above: NaN is above nothing. One level: rounding may fall either way.
    if not (worst <= allowed and levels <= max(1, 255 * allowed)):
        raise UserError(
            f"the SavedModel differs from the Keras model by {worst:.3g} of the image range and "
            f"{levels:g} of 255 levels (at most {allowed:g} is right); nothing was written."
        )


def _largest(found, expected, share=1.0):
    """The largest difference of a share of the values, those that differ least."""
    differences = np.sort(np.abs(found.astype(np.float64) - expected), axis=None)
    if np.isnan(differences[-1]):
        return math.nan  # sorted behind all numbers
    return float(differences[math.ceil(share * differences.size) - 1])


def _encoded(pixels, kind):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def decoded(file: bytes) -> np.ndarray:
    """Returns the pixels of a picture file, (height, width, 3) uint8.

    Args:
      file: its bytes.
    """
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))


def _files(directory):
    """Bytes in all, and the SHA-256 of every file."""
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    return {
        "bytes": sum(path.stat().st_size for path in paths),
        "sha256": {path.relative_to(directory).as_posix(): sha256(path) for path in paths},
    }


@contextlib.contextmanager
def _staging(directory) -> Iterator[Path]:
    """A folder beside the final places, on the same disk, gone at the end."""
    Path(directory).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory, prefix=".export-") as scratch:
        os.chmod(scratch, 0o755)  # servers often run as another user
        yield Path(scratch)
