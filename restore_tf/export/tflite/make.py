"""Writes a run's TFLite files, after converting, running and scoring each.

Each file is made in a process of its own and run in another (`convert`, `check`): a crash there
becomes a row that says so. A file is refused that

- holds operations that LiteRT does not have, TensorFlow's (Flex) among them;
- is of fixed size but computes shapes when it runs, which GPU and NPU delegates cannot;
- is of kind int8 or uint8 but computes something in floats;
- outputs NaN or infinity, or, in float32, other numbers than the Keras model;
- loses more than `max_psnr_drop` dB.

NAME.json beside NAME.tflite is its metadata. It is not in the file: the library for that,
tflite-support, is no longer maintained and does not install beside a current TensorFlow.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import math
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from restore_tf.errors import UserError
from restore_tf.experiments import experiment
from restore_tf.export import jobs
from restore_tf.export.samples import Samples
from restore_tf.export.tflite.crops import read_crops
from restore_tf.export.tflite.scores import score
from restore_tf.inference.tflite_model import KINDS, METADATA_FORMAT
from restore_tf.system.files import atomic_path
from restore_tf.system.log import logger

_PIXELS = 2**21  # that a size is calibrated and scored on: 16 crops of 256x256, 2 of 720x1280
_SIDE = 256  # in pixels, of the crops that a file for any size is run on
_STEADY_SHARE = 0.99  # of the values of a network that is not continuous
_FLOAT32_ERROR = 1e-4  # of the output's range; XNNPACK adds up in another order


def export(
    workdir: str | os.PathLike,
    load_arguments: Mapping[str, Any],
    directory: str | os.PathLike,
    *,
    sizes: Sequence[tuple[int, int] | None],
    kinds: Sequence[str],
    samples: Samples,
    max_psnr_drop: float = 0.3,
) -> list[dict[str, Any]]:
    """Writes a run's network as TFLite files.

    Args:
      workdir: the run directory.
      load_arguments: keyword arguments of `weights.load.load_model`, all of which JSON can hold.
      directory: where to write; created if missing. Existing files of the same names are replaced.
      sizes: (height, width) in pixels of files of fixed size; None for one of any size, which is
        float32 whatever the kinds: other kinds gain nothing there.
      kinds: of `KINDS`: "float32"; "float16", weights in 16 bits; "dynamic_int8", weights in
        8 bits, the rest computed in floats; "int8", all in 8 bits, floats in and out; "uint8", the
        same with a picture's bytes in and out; "mixed_int8", tensors with a high signal-to-noise
        ratio in 8 bits and the rest in floats; "int16x8", values in 16 bits and weights in 8.
      samples: pictures to calibrate and score on.
      max_psnr_drop: refuse a file that loses more, in dB. Against sharp pictures where there are
        any; else the loss that the same error would cause to a restoration of 30 dB.

    Returns:
      One row of JSON values for each file, in the order of sizes and kinds: file, kind, size,
      written, reason (why it was not written), and as far as it came widened_ranges (see
      `ranges`), bytes, sha256, operations, input, output, ms (per frame), peak_mb, crops, and the
      entries of `scores.score`.

    Raises:
      UserError: no run directory, an unknown kind, a size that the network does not take, or
        ai-edge-litert is not installed.
    """
    _check(kinds)
    recipe, _ = experiment.read(workdir)
    load_arguments = dict(load_arguments)
    if load_arguments.pop("precision", "float32") != "float32":
        logger.warning("TFLite has no bfloat16: its files are made from the network in float32.")
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    rows = []
    for size in dict.fromkeys(sizes):
        with tempfile.TemporaryDirectory(prefix="restore_tf_") as scratch:
            maker = _Maker(Path(scratch), directory, recipe.model, size, max_psnr_drop)
            wanted = kinds_of(size, kinds)
            maker.prepare(workdir, load_arguments, wanted, samples)
            for kind in wanted:
                rows.append(maker.make(kind))
                logger.log(
                    logging.INFO if rows[-1]["written"] else logging.WARNING, describe(rows[-1])
                )
    return rows


def _check(kinds):
    for kind in kinds:
        if kind not in KINDS:
            raise UserError(f"--kinds {kind}: expected some of {', '.join(KINDS)}.")
    if importlib.util.find_spec("ai_edge_litert") is None:
        raise UserError(
            "--format tflite: needs ai_edge_litert, on which every file is tried: pip install "
            "'restore_tf[edge]'."
        )


def kinds_of(size: tuple[int, int] | None, kinds: Sequence[str]) -> list[str]:
    """Returns the kinds that a size is converted to, see `export`.

    Args:
      size: (height, width) in pixels, None for any.
      kinds: the requested ones.
    """
    return list(dict.fromkeys(kinds)) if size else ["float32"]


def file_name(
    model: str,
    size: tuple[int, int] | None,
    kind: str,
    load_arguments: Mapping[str, Any] | None = None,
) -> str:
    """Returns a file's name: "srn_256x256_int8.tflite", "srn_any_size_float32.tflite".

    Options of inference are part of the name, so that files of one run do not replace each other:
    "mprnet_stages_2_local_attention_256x256_int8.tflite".

    Args:
      model: the recipe's.
      size: (height, width) in pixels, None for any.
      kind: one of `KINDS`.
      load_arguments: as for `export`.
    """
    parts = [model]
    for option, value in sorted(((load_arguments or {}).get("network") or {}).items()):
        if value not in (None, False):
            parts += [option] if value is True else [option, re.sub(r"\W+", "_", str(value))]
    parts += ["x".join(map(str, size)) if size else "any_size", kind]
    return "_".join(parts) + ".tflite"


class _Maker:
    """Makes the files of one size."""

    def __init__(self, scratch, directory, model, size, max_psnr_drop):
        self._scratch, self._directory, self._size = scratch, directory, size
        self._limit = max_psnr_drop
        self._model = model

    def prepare(self, workdir, load_arguments, kinds, samples):
        crop = self._size or (_SIDE, _SIDE)
        count = max(1, min(len(samples), _PIXELS // math.prod(crop)))
        smaller = samples.smaller_than(crop)
        if smaller:
            logger.warning(
                "%d of %d pictures of %s are smaller than %dx%d pixels and were mirrored to fill "
                "them; --calibrate FOLDER takes larger ones.",
                *(smaller, len(samples), samples.origin, *crop),
            )
        samples.save(self._scratch / "samples.npz")
        try:
            self._network = jobs.run_in_process(
                "tflite.convert",
                "prepare",
                self._scratch,
                workdir=str(workdir),
                load_arguments=load_arguments,
                size=self._size,
                kinds=kinds,
                crop=crop,
                count=count,
                samples=str(self._scratch / "samples.npz"),
                folder=str(self._scratch),
            )
        except jobs.Failed as error:
            raise UserError(f"{workdir}: cannot be made ready for TFLite ({error}).") from None
        self._provenance = {
            "workdir": str(workdir),
            "load_arguments": load_arguments,
            "samples": samples.origin,
            "environment": experiment.environment(),
        }

    def make(self, kind) -> dict[str, Any]:
        """Converts, runs and scores one file; writes it if it passes all checks.

        Args:
          kind: one of `KINDS`.

        Returns:
          The row, see `export`.
        """
        row = {
            "file": file_name(self._model, self._size, kind, self._provenance["load_arguments"]),
            "kind": kind,
            "size": self._size and list(self._size),
            "written": False,
            "reason": None,
        }
        path = self._scratch / row["file"]
        try:
            row |= jobs.run_in_process(
                "tflite.convert",
                "convert",
                self._scratch,
                folder=str(self._scratch),
                kind=kind,
                output=str(path),
                any_size=self._size is None,
            )
            row |= {"bytes": path.stat().st_size, "sha256": _sha256(path)}
            _write_json(path.with_suffix(".json"), self._metadata(row))
            row["reason"] = self._check(path, row)
        except (jobs.Failed, UserError) as error:
            row["reason"] = str(error).rstrip(".")
        if row["reason"] is None:
            _write_json(path.with_suffix(".json"), self._metadata(row))
            for name in (path.with_suffix(".json").name, path.name):
                with atomic_path(self._directory / name) as temporary:
                    shutil.copyfile(self._scratch / name, temporary)
            row["written"] = True
        path.unlink(missing_ok=True)
        return row

    def _check(self, path, row):
        """Runs the file and fills the row; returns why it is refused, or None."""
        restored = self._scratch / "restored.npy"
        found = jobs.run_in_process(
            "tflite.check",
            "check",
            self._scratch,
            file=str(path),
            folder=str(self._scratch),
            restored=str(restored),
            again=self._size is None,
        )
        row |= {name: found[name] for name in _REPORTED}
        if not found["finite"]:
            return "it outputs what is not a number"
        if found["flex"]:
            return f"it needs TensorFlow's own operations: {', '.join(found['flex'])}"
        if found["custom"]:
            return f"it needs operations that LiteRT does not have: {', '.join(found['custom'])}"
        if self._size and found["dynamic"]:
            return f"it works out shapes when it runs: {', '.join(found['dynamic'])}"
        if row["kind"] in ("int8", "uint8") and found["floats"]:
            return f"it computes in floats: {', '.join(found['floats'])}"
        degraded, reference, sharp = read_crops(self._scratch)
        row["crops"] = len(degraded)
        outputs = np.load(restored, allow_pickle=False)
        row |= score(reference, outputs, sharp)
        # Behind a threshold the last bit of a float can become a level.
        share = 1.0 if self._network.get("continuous", True) else _STEADY_SHARE
        error = float(np.quantile(np.abs(outputs - reference), share))
        if row["kind"] == "float32" and error > _FLOAT32_ERROR * max(1.0, np.ptp(reference)):
            return f"it differs from the Keras model by up to {error:.2g}"
        if row["psnr_loss"] > self._limit:
            return (
                f"it loses {row['psnr_loss']:.2f} dB ({row['loss_of']}), more than "
                f"--max_psnr_drop {self._limit:g}"
            )
        return None

    def _metadata(self, row):
        """The content of NAME.json, which `restore_tf.inference.tflite_model.LiteModel` reads."""
        return {
            "format": METADATA_FORMAT,
            "model": self._model,
            "kind": row["kind"],
            "size": row["size"],
            "input": {
                "name": "images",
                "range": [0, 255] if row["kind"] == "uint8" else [0.0, 1.0],
                "layout": "(1, height, width, channels), sRGB as stored",
            },
            "outputs": [{"name": "restored", "label": "the restored image, as the input"}],
            **self._network,
            **{name: row[name] for name in ("sha256", *_IN_METADATA) if name in row},
            "provenance": self._provenance,
        }


_REPORTED = ("operations", "input", "output", "ms", "peak_mb", "bytes_per_pixel")
_IN_METADATA = ("bytes_per_pixel", "psnr_to_float", "psnr_loss", "loss_of")


def describe(row: Mapping[str, Any]) -> str:
    """Describes a file in one line.

    Args:
      row: from `export`.
    """
    if not row["written"]:
        return f"{row['file']}: not written, {row['reason']}."
    return (
        f"{row['file']}: {row['bytes'] / 1e6:.2f} MB, {row['psnr_to_float']:.1f} dB from the Keras "
        f"model, loses {row['psnr_loss']:z.3f} dB ({row['loss_of']}), {row['ms']:.0f} ms and "
        f"{row['peak_mb']:.0f} MB a frame."
    )


def _sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _write_json(path, content):
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
