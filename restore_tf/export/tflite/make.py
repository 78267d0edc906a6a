"""Writes a run's TFLite files, after converting, running and scoring each; see `device_files`.

Beside what every file for devices is refused for, a TFLite file is refused that

- holds operations that LiteRT does not have, TensorFlow's (Flex) among them;
- is of fixed size but computes shapes when it runs, which GPU and NPU delegates cannot;
- is of kind int8 or uint8 but computes something in floats.

NAME.json beside NAME.tflite is its metadata. It is not in the file: the library for that,
tflite-support, is no longer maintained and does not install beside a current TensorFlow.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from typing import Any

from restore_tf.errors import UserError
from restore_tf.export import device_files
from restore_tf.export.samples import Samples
from restore_tf.export.tflite.convert import is_eight_bit
from restore_tf.inference.tflite_model import KINDS

ENDINGS = (".tflite",)


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
      max_psnr_drop: refuse a file that loses more, in dB; see `device_files.export`.

    Returns:
      One row for each file, see `device_files.export`; with widened_ranges (see `ranges`),
      operations, input, output, ms (per frame) and peak_mb.

    Raises:
      UserError: no run directory, an unknown kind, a size that the network does not take, or
        ai-edge-litert is not installed.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise UserError(f"--kinds {kind}: expected some of {', '.join(KINDS)}.")
    if importlib.util.find_spec("ai_edge_litert") is None:
        raise UserError(
            "--format tflite: needs ai_edge_litert, on which every file is tried: pip install "
            "'restore_tf[edge]'."
        )
    return device_files.export(
        _FORMAT,
        workdir,
        load_arguments,
        directory,
        kinds={size: kinds_of(size, kinds) for size in sizes},
        samples=samples,
        max_psnr_drop=max_psnr_drop,
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
    """Returns a file's name, see `device_files.file_name`: "srn_256x256_int8.tflite".

    Args:
      model: the recipe's.
      size: (height, width) in pixels, None for any.
      kind: one of `KINDS`.
      load_arguments: as for `export`.
    """
    return device_files.file_name(model, size, kind, load_arguments, ENDINGS[0])


def _refusal(row, found):
    if found["flex"]:
        return f"it needs TensorFlow's own operations: {', '.join(found['flex'])}"
    if found["custom"]:
        return f"it needs operations that LiteRT does not have: {', '.join(found['custom'])}"
    if row["size"] and found["dynamic"]:
        return f"it works out shapes when it runs: {', '.join(found['dynamic'])}"
    if row["kind"] in ("int8", "uint8") and found["floats"]:
        return f"it computes in floats: {', '.join(found['floats'])}"
    return None


_FORMAT = device_files.Format(
    name="TFLite",
    jobs="tflite",
    endings=ENDINGS,
    reported=("operations", "input", "output", "ms", "peak_mb", "bytes_per_pixel"),
    needs_relu=is_eight_bit,
    refusal=_refusal,
)
