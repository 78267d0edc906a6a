"""The authors' PyTorch checkpoints, and Keras' own ImageNet weights of the backbone.

Tensors are matched by name, never by position.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import keras
import numpy as np

from deblurgan_tf.model import DeblurGAN, DeblurGANv2
from restore_tf.errors import UserError
from restore_tf.weights.pytorch_files import read_state_dict
from restore_tf.weights.state_dicts import assign

TASKS = {"deblurring": "gopro", "backbone": "gopro"}  # by task
TERMS = "DeblurGAN's and DeblurGAN-v2's published weights: BSD licence (Kupyn et al.)"
NON_COMMERCIAL = False

_NEVER_USED = ("num_batches_tracked", "running_mean", "running_var")
_FEATURES = "fpn.features."
_LEVELS = (0, 2, 4, 7, 11)  # the first part of each level, which is stored twice
_UNUSED_PARTS = ("16.", "17.", "18.")  # of MobileNetV2; no level reaches them


def name_map(model) -> dict[str, keras.Variable]:
    """Returns {name in the authors' checkpoint: the model's variable}.

    Args:
      model: a built generator.

    Raises:
      UserError: nothing of that model was published.
    """
    if isinstance(model, DeblurGANv2):
        return dict(_pyramid_names(model))
    if isinstance(model, DeblurGAN):
        return dict(_resnet_names(model))
    raise UserError(f"--model {model.name}: there are no published weights to convert.")


def _resnet_names(model) -> Iterator[tuple[str, keras.Variable]]:
    yield from _convolution("model.1", model.first)
    for name, down in zip(("model.4", "model.7"), model.downs, strict=True):
        yield from _convolution(name, down.conv.conv)
    for number, block in enumerate(model.blocks, 10):
        yield from _convolution(f"model.{number}.conv_block.1", block.conv1)
        yield from _convolution(f"model.{number}.conv_block.6", block.conv2)
    last = 10 + len(model.blocks)
    for number, up in zip((last, last + 3), model.ups, strict=True):
        yield from _convolution(f"model.{number}", up.conv)
    yield from _convolution(f"model.{last + 7}", model.final)


def _pyramid_names(model) -> Iterator[tuple[str, keras.Variable]]:
    backbone = model.backbone
    yield from _normalised(f"{_FEATURES}0.", 0, backbone.stem.conv, backbone.stem_norm)
    for number, part in enumerate(backbone.parts, 1):
        name, place = f"{_FEATURES}{number}.conv.", 0
        if part.expand is not None:
            yield from _normalised(name, 0, part.expand, part.expand_norm)
            place = 3
        yield from _normalised(name, place, part.depthwise, part.depthwise_norm)
        yield from _normalised(name, place + 3, part.project, part.project_norm)
    for level, lateral in enumerate(model.laterals):
        yield from _convolution(f"fpn.lateral{level}", lateral)
    for number, top_down in enumerate(model.top_downs, 1):
        yield from _convolution(f"fpn.td{number}.0", top_down.conv.conv)
    for level, head in enumerate(model.heads, 1):
        for number, convolution in enumerate((head.conv1, head.conv2)):
            yield from _convolution(f"head{level}.block{number}", convolution)
    yield from _convolution("smooth.0", model.smooth1.conv.conv)
    yield from _convolution("smooth2.0", model.smooth2.conv.conv)
    yield from _convolution("final", model.final)


def _convolution(name, layer):
    yield f"{name}.weight", layer.kernel
    if layer.use_bias:
        yield f"{name}.bias", layer.bias


def _normalised(name, place, layer, norm):
    yield from _convolution(f"{name}{place}", layer)
    yield f"{name}{place + 1}.weight", norm.gamma
    yield f"{name}{place + 1}.bias", norm.beta


def load_state_dict(model, tensors: Mapping[str, np.ndarray], source: str) -> None:
    """Assigns a PyTorch state dict to a built generator.

    Running statistics, which the authors never use, and the last three parts of MobileNetV2, which
    no level of the pyramid reaches, are left out.

    Args:
      model: a `DeblurGANv2` or `DeblurGAN` of the checkpoint's widths.
      tensors: {name: array}, each name with or without a leading "module.".
      source: the file, named in errors.

    Raises:
      UserError: a tensor is missing, left over or of another shape, or two copies of one differ.
        The model is not changed then.
    """
    tensors = {
        name.removeprefix("module."): tensor
        for name, tensor in tensors.items()
        if not name.endswith(_NEVER_USED)
    }
    names = name_map(model)
    if isinstance(model, DeblurGANv2):
        tensors = _without_copies(tensors, source)
        for name, variable in names.items():
            if variable.path.endswith("depthwise/kernel") and name in tensors:
                tensors[name] = tensors[name].swapaxes(0, 1)  # was (channels, 1, height, width)
    else:
        tensors = {_with_dropout(name): tensor for name, tensor in tensors.items()}
    sizes = ", ".join(f"{name} {value}" for name, value in model.get_config().items())
    assign(names, tensors, source, f"this network ({sizes}); --set network.… makes another")


def _without_copies(tensors, source):
    """The pyramid's tensors without the backbone's copies under "fpn.enc", which must be equal."""
    kept = {}
    for name, tensor in tensors.items():
        if name.startswith(tuple(_FEATURES + part for part in _UNUSED_PARTS)):
            continue
        original = _original(name)
        if original is None:
            kept[name] = tensor
        elif original not in tensors or not np.array_equal(tensors[original], tensor):
            raise UserError(f"{source}: {name} and {original} differ; expected one tensor twice.")
    return kept


def _original(name):
    """The name under "fpn.features" of a name such as "fpn.enc3.1.conv.0.weight", or None."""
    if not name.startswith("fpn.enc"):
        return None
    level, part, rest = name.removeprefix("fpn.enc").split(".", 2)
    return f"{_FEATURES}{_LEVELS[int(level)] + int(part)}.{rest}"


def _with_dropout(name):
    """Without dropout in the blocks the authors' second convolution is one place earlier."""
    return name.replace(".conv_block.5.", ".conv_block.6.")


def load_checkpoint(model, path: str) -> None:
    """Reads a file into a built generator, without running what is in it.

    Args:
      model: the generator.
      path: a PyTorch checkpoint, or Keras' own weights of MobileNetV2 (HDF5), which go into the
        backbone alone; the rest stays as it was drawn. The content decides: the authors called
        their PyTorch file "fpn_mobilenet.h5".

    Raises:
      UserError: from `restore_tf.weights.pytorch_files.read_state_dict` and `load_state_dict`, or
        from `load_backbone`.
    """
    if _is_hdf5(path):
        load_backbone(model, path)
    else:
        load_state_dict(model, read_state_dict(path), path)


def _is_hdf5(path):
    try:
        with open(path, "rb") as file:
            return file.read(8) == b"\x89HDF\r\n\x1a\n"
    except OSError:
        return False  # the next reader reports it


def load_backbone(model, path: str) -> None:
    """Reads Keras' own ImageNet weights of MobileNetV2 (width 1, without its top).

    Args:
      model: a `DeblurGANv2` with `backbone="keras"` and the published widths.
      path: "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5".

    Raises:
      UserError: another network, or a file that Keras cannot read.
    """
    if not isinstance(model, DeblurGANv2) or model.get_config()["backbone"] != "keras":
        raise UserError(
            f"{path}: weights of Keras' MobileNetV2, which --model deblurgan_imagenet takes."
        )
    try:
        source = keras.applications.MobileNetV2((None, None, 3), include_top=False, weights=None)
        source.load_weights(path)
        values = [(to, np.asarray(source.get_layer(name).weights[place]))
                  for to, name, place in _keras_names(model.backbone)]  # fmt: skip
        for variable, value in values:
            if variable.shape != value.shape:
                raise ValueError(f"{variable.path} has shape {tuple(variable.shape)}")
    except Exception as error:  # h5py and Keras raise many kinds for damaged or foreign files
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise UserError(
            f"{path}: not Keras' weights of MobileNetV2 at width 1 without top ({reason})."
        ) from None
    for variable, value in values:
        variable.assign(value)


def _keras_names(backbone):
    """Yields (our variable, Keras' layer, place among its weights)."""
    pairs = [("Conv1", "bn_Conv1", backbone.stem.conv, backbone.stem_norm)]
    for number, part in enumerate(backbone.parts):
        name = f"block_{number}_" if number else "expanded_conv_"
        for step in ("expand", "depthwise", "project"):
            layer = getattr(part, step)
            if layer is not None:
                norm = getattr(part, f"{step}_norm")
                pairs.append((name + step, f"{name}{step}_BN", layer, norm))
    for convolution, norm, ours, our_norm in pairs:
        yield ours.kernel, convolution, 0
        yield our_norm.gamma, norm, 0
        yield our_norm.beta, norm, 1


def files(path: str) -> list[Path]:
    """Returns the checkpoint's files that exist, for their checksums.

    Args:
      path: the checkpoint's path.
    """
    return [Path(path)] if Path(path).is_file() else []


def identify(model) -> None:
    """Returns None: no checksum of the published files is known.

    Args:
      model: with loaded weights.
    """
