"""Writes a run's OpenVINO files, after converting, running and scoring each; see `device_files`."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from typing import Any

from restore_tf.errors import UserError
from restore_tf.export import device_files
from restore_tf.export.samples import Samples
from restore_tf.inference.openvino_model import ENDINGS, KINDS

_FORMAT = device_files.Format(
    name="OpenVINO",
    jobs="openvino",
    endings=ENDINGS,
    reported=("input", "output", "ms", "peak_mb", "bytes_per_pixel"),
)


def export(
    workdir: str | os.PathLike,
    load_arguments: Mapping[str, Any],
    directory: str | os.PathLike,
    *,
    sizes: Sequence[tuple[int, int]],
    kinds: Sequence[str],
    samples: Samples,
    max_psnr_drop: float = 0.3,
) -> list[dict[str, Any]]:
    """Writes a run's network as OpenVINO files.

    Args:
      workdir: the run directory.
      load_arguments: keyword arguments of `weights.load.load_model`, all of which JSON can hold.
      directory: where to write; created if missing. Existing files of the same names are replaced.
      sizes: (height, width) in pixels.
      kinds: of `KINDS`: "float32"; "int8", weights and values between layers in 8 bits, floats in
        and out.
      samples: pictures to calibrate and score on.
      max_psnr_drop: refuse a file that loses more, in dB; see `device_files.export`.

    Returns:
      One row for each file, see `device_files.export`; with quantised (see `convert`), input,
      output, ms (per frame) and peak_mb.

    Raises:
      UserError: no run directory, an unknown kind, a size that the network does not take, or
        openvino or nncf is not installed.
    """
    check_kinds(kinds)
    needed = ["openvino", *(["nncf"] if "int8" in kinds else [])]
    absent = [name for name in needed if importlib.util.find_spec(name) is None]
    if absent:
        raise UserError(
            f"--format openvino: needs {' and '.join(absent)}: pip install 'restore_tf[openvino]'."
        )
    wanted = list(dict.fromkeys(kinds))
    return device_files.export(
        _FORMAT,
        workdir,
        load_arguments,
        directory,
        kinds=dict.fromkeys(sizes, wanted),
        samples=samples,
        max_psnr_drop=max_psnr_drop,
    )


def check_kinds(kinds: Sequence[str]) -> None:
    """Refuses kinds that OpenVINO files do not have.

    Args:
      kinds: the requested ones.

    Raises:
      UserError: one of them is unknown.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise UserError(f"--kinds {kind}: --format openvino makes {', '.join(KINDS)} only.")


def file_name(
    model: str,
    size: tuple[int, int],
    kind: str,
    load_arguments: Mapping[str, Any] | None = None,
) -> str:
    """Returns a file's name, see `device_files.file_name`: "srn_256x256_int8.xml".

    Args:
      model: the recipe's.
      size: (height, width) in pixels.
      kind: one of `KINDS`.
      load_arguments: as for `export`.
    """
    return device_files.file_name(model, size, kind, load_arguments, ENDINGS[0])
