"""Makes files for devices: each is converted, run and scored, and written only if it passes.

`tflite.make` and `openvino.make` describe their format by a `Format`. Each file is made in a
process of its own and run in another (`jobs`): a crash there becomes a row that says so. Whatever
the format, a file is refused that

- outputs NaN or infinity, or, in float32, other numbers than the Keras model;
- loses more than `max_psnr_drop` dB.

NAME.json beside a file is its metadata, which `inference.device_file` reads.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from restore_tf.errors import UserError
from restore_tf.experiments import experiment
from restore_tf.export import jobs
from restore_tf.export.prepared import read_crops
from restore_tf.export.samples import Samples
from restore_tf.export.scores import score
from restore_tf.inference.device_file import METADATA_FORMAT, digest
from restore_tf.system.files import atomic_path
from restore_tf.system.log import logger

_PIXELS = 2**21  # that a size is calibrated and scored on: 16 crops of 256x256, 2 of 720x1280
_SIDE = 256  # in pixels, of the crops that a file for any size is run on
_STEADY_SHARE = 0.99  # of the values of a network that is not continuous
_FLOAT32_ERROR = 1e-4  # of the output's range; runtimes add up in another order


@dataclasses.dataclass(frozen=True)
class Format:
    """What distinguishes the files of one runtime from another's.

    Attributes:
      name: for messages: "TFLite".
      jobs: package in `restore_tf.export` with the modules `convert` and `check`: "tflite".
      endings: of the files that are one network together, first of the one that is opened.
      reported: which entries of the check's answer the rows keep.
      needs_relu: takes a kind; returns whether it starts from the SavedModel with a ReLU on its
        input, see `prepared.write_saved_model`.
      refusal: takes a row and the check's answer; returns why the file is refused, or None.
    """

    name: str
    jobs: str
    endings: tuple[str, ...]
    reported: tuple[str, ...]
    needs_relu: Callable[[str], bool] = lambda kind: False
    refusal: Callable[[Mapping[str, Any], Mapping[str, Any]], str | None] = lambda row, found: None


def export(
    form: Format,
    workdir: str | os.PathLike,
    load_arguments: Mapping[str, Any],
    directory: str | os.PathLike,
    *,
    kinds: Mapping[tuple[int, int] | None, Sequence[str]],
    samples: Samples,
    max_psnr_drop: float,
) -> list[dict[str, Any]]:
    """Writes a run's network as files of a format.

    Args:
      form: the format.
      workdir: the run directory.
      load_arguments: keyword arguments of `weights.load.load_model`, all of which JSON can hold.
      directory: where to write; created if missing. Existing files of the same names are replaced.
      kinds: {size: kinds} of the files; a size is (height, width) in pixels, or None for any.
      samples: pictures to calibrate and score on.
      max_psnr_drop: refuse a file that loses more, in dB. Against sharp pictures where there are
        any; else the loss that the same error would cause to a restoration of 30 dB.

    Returns:
      One row of JSON values for each file, in the order of sizes and kinds: file, kind, size,
      written, reason (why it was not written), and as far as it came what the conversion says,
      bytes, sha256, what the check says (`form.reported`), crops, and the entries of
      `scores.score`.

    Raises:
      UserError: no run directory, or a size that the network does not take.
    """
    recipe, _ = experiment.read(workdir)
    load_arguments = dict(load_arguments)
    if load_arguments.pop("precision", "float32") != "float32":
        logger.warning(
            "%s has no bfloat16: its files are made from the network in float32.", form.name
        )
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    rows = []
    for size, wanted in kinds.items():
        with tempfile.TemporaryDirectory(prefix="restore_tf_") as scratch:
            maker = _Maker(form, Path(scratch), directory, recipe.model, size, max_psnr_drop)
            maker.prepare(workdir, load_arguments, wanted, samples)
            for kind in wanted:
                rows.append(maker.make(kind))
                logger.log(
                    logging.INFO if rows[-1]["written"] else logging.WARNING, describe(rows[-1])
                )
    return rows


def file_name(
    model: str,
    size: tuple[int, int] | None,
    kind: str,
    load_arguments: Mapping[str, Any] | None,
    ending: str,
) -> str:
    """Returns a file's name: "srn_256x256_int8.tflite", "srn_any_size_float32.tflite".

    Options of inference are part of the name, so that files of one run do not replace each other:
    "mprnet_stages_2_local_attention_256x256_int8.tflite".

    Args:
      model: the recipe's.
      size: (height, width) in pixels, None for any.
      kind: of the format's.
      load_arguments: as for `export`.
      ending: ".tflite".
    """
    parts = [model]
    for option, value in sorted(((load_arguments or {}).get("network") or {}).items()):
        if value not in (None, False):
            parts += [option] if value is True else [option, re.sub(r"\W+", "_", str(value))]
    parts += ["x".join(map(str, size)) if size else "any_size", kind]
    return "_".join(parts) + ending


class _Maker:
    """Makes the files of one size."""

    def __init__(self, form, scratch, directory, model, size, max_psnr_drop):
        self._form, self._scratch, self._directory, self._size = form, scratch, directory, size
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
                "prepared",
                "prepare",
                self._scratch,
                workdir=str(workdir),
                load_arguments=load_arguments,
                size=self._size,
                eight_bit=sorted({self._form.needs_relu(kind) for kind in kinds}),
                crop=crop,
                count=count,
                samples=str(self._scratch / "samples.npz"),
                folder=str(self._scratch),
            )
        except jobs.Failed as error:
            raise UserError(
                f"{workdir}: cannot be made ready for {self._form.name} ({error})."
            ) from None
        self._provenance = {
            "workdir": str(workdir),
            "load_arguments": load_arguments,
            "samples": samples.origin,
            "environment": experiment.environment(),
        }

    def make(self, kind) -> dict[str, Any]:
        """Converts, runs and scores one file; writes it if it passes all checks.

        Args:
          kind: of the format's.

        Returns:
          The row, see `export`.
        """
        arguments, ending = self._provenance["load_arguments"], self._form.endings[0]
        row = {
            "file": file_name(self._model, self._size, kind, arguments, ending),
            "kind": kind,
            "size": self._size and list(self._size),
            "written": False,
            "reason": None,
        }
        path = self._scratch / row["file"]
        parts = [path.with_suffix(ending) for ending in self._form.endings]
        try:
            row |= jobs.run_in_process(
                f"{self._form.jobs}.convert",
                "convert",
                self._scratch,
                folder=str(self._scratch),
                kind=kind,
                output=str(path),
                any_size=self._size is None,
            )
            row["bytes"] = sum(part.stat().st_size for part in parts)
            row["sha256"] = digest(parts)
            _write_json(path.with_suffix(".json"), self._metadata(row))
            row["reason"] = self._check(path, row)
        except (jobs.Failed, UserError) as error:
            row["reason"] = str(error).rstrip(".")
        if row["reason"] is None:
            _write_json(path.with_suffix(".json"), self._metadata(row))
            # The file that is opened comes last: what it needs is there then.
            for part in (path.with_suffix(".json"), *reversed(parts)):
                with atomic_path(self._directory / part.name) as temporary:
                    shutil.copyfile(part, temporary)
            row["written"] = True
        for part in parts:
            part.unlink(missing_ok=True)
        return row

    def _check(self, path, row):
        """Runs the file and fills the row; returns why it is refused, or None."""
        restored = self._scratch / "restored.npy"
        found = jobs.run_in_process(
            f"{self._form.jobs}.check",
            "check",
            self._scratch,
            file=str(path),
            folder=str(self._scratch),
            restored=str(restored),
            again=self._size is None,
        )
        row |= {name: found[name] for name in self._form.reported}
        if not found["finite"]:
            return "it outputs what is not a number"
        reason = self._form.refusal(row, found)
        if reason is not None:
            return reason
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
        """The content of NAME.json, which `restore_tf.inference.device_file` reads."""
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


def _write_json(path, content):
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
