"""The authors' PyTorch checkpoints, mapped to our weights by name.

PyTorch keeps convolutions as (out, in, height, width), Keras as (height, width, in, out).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import keras
import numpy as np

from mprnet_tf.model import MPRNet
from restore_tf.errors import UserError
from restore_tf.weights.pytorch_files import read_state_dict

TASKS = {"deblurring": "gopro", "denoising": "sidd", "deraining": "rain13k"}  # by task
TERMS = (
    "MPRNet's published weights: academic, non-commercial use only, derivatives under the same "
    "terms (Zamir et al.)"
)
NON_COMMERCIAL = True

_DATA_PARALLEL = "module."  # what torch.nn.DataParallel puts before every name
_PRELU = ".body.1.weight"  # the one PReLU, repeated under every CAB


def name_map(model: MPRNet) -> dict[str, keras.Variable]:
    """Returns {name in the authors' checkpoint: the model's variable}.

    The shared PReLU has as many names as there are channel attention blocks.

    Args:
      model: a built MPRNet.
    """
    return dict(_names(model))


def _names(model) -> Iterator[tuple[str, keras.Variable]]:
    for stage in range(1, model.stages + 1):
        shallow = getattr(model, f"shallow{stage}")
        yield f"shallow_feat{stage}.0.weight", shallow.conv.kernel
        yield from _cab(f"shallow_feat{stage}.1", shallow.cab)
        if stage < 3:
            yield from _encoder(f"stage{stage}_encoder", getattr(model, f"encoder{stage}"))
            yield from _decoder(f"stage{stage}_decoder", getattr(model, f"decoder{stage}"))
            name, sam = f"sam{stage}{stage + 1}", getattr(model, f"sam{stage}")
            yield f"{name}.conv2.weight", sam.conv_image.kernel
            if stage < model.stages:
                yield f"{name}.conv1.weight", sam.conv_features.kernel
                yield f"{name}.conv3.weight", sam.conv_gate.kernel
        if stage > 1:
            yield f"concat{stage - 1}{stage}.weight", getattr(model, f"merge{stage}").kernel
    if model.stages == 3:
        yield from _orsnet("stage3_orsnet", model.orsnet)
        yield "tail.weight", model.tail.kernel


def _cab(name, cab):
    yield f"{name}.body.0.weight", cab.conv1.kernel
    yield f"{name}{_PRELU}", cab.prelu.alpha
    yield f"{name}.body.2.weight", cab.conv2.kernel
    yield f"{name}.CA.conv_du.0.weight", cab.attention.squeeze.kernel
    yield f"{name}.CA.conv_du.2.weight", cab.attention.excite.kernel


def _levels(name, levels):
    for level, cabs in enumerate(levels, 1):
        for position, cab in enumerate(cabs):
            yield from _cab(f"{name}{level}.{position}", cab)


def _encoder(name, encoder):
    yield from _levels(f"{name}.encoder_level", encoder.levels)
    for level, down in enumerate(encoder.downs, 1):
        yield f"{name}.down{level}{level + 1}.down.1.weight", down.conv.kernel
    for side, fusions in (("enc", encoder.fuse_encoder), ("dec", encoder.fuse_decoder)):
        for level, fusion in enumerate(fusions, 1):
            yield f"{name}.csff_{side}{level}.weight", fusion.kernel


def _decoder(name, decoder):
    yield from _levels(f"{name}.decoder_level", decoder.levels)
    for level, (skip, up) in enumerate(zip(decoder.skips, decoder.ups, strict=True), 1):
        yield from _cab(f"{name}.skip_attn{level}", skip)
        yield f"{name}.up{level + 1}{level}.up.1.weight", up.conv.kernel


def _orsnet(name, orsnet):
    for number, orb in enumerate(orsnet.orbs, 1):
        for position, cab in enumerate(orb.cabs):
            yield from _cab(f"{name}.orb{number}.body.{position}", cab)
        yield f"{name}.orb{number}.body.{len(orb.cabs)}.weight", orb.conv.kernel
    for side, ups, fusions in (
        ("enc", orsnet.ups_encoder, orsnet.fuse_encoder),
        ("dec", orsnet.ups_decoder, orsnet.fuse_decoder),
    ):
        yield f"{name}.up_{side}1.up.1.weight", ups[1][0].conv.kernel
        for position, up in enumerate(ups[2]):
            yield f"{name}.up_{side}2.{position}.up.1.weight", up.conv.kernel
        for number, fusion in enumerate(fusions, 1):
            yield f"{name}.conv_{side}{number}.weight", fusion.kernel


def load_state_dict(model: MPRNet, tensors: Mapping[str, np.ndarray], source: str) -> None:
    """Assigns a PyTorch state dict to a built model of all three stages.

    Args:
      model: an MPRNet of the task that the checkpoint was trained for.
      tensors: {name: array}, each name with or without a leading "module.".
      source: the file, named in errors.

    Raises:
      UserError: a tensor is missing, left over or of another shape, or the copies of the shared
        PReLU differ. The model is not changed then.
    """
    tensors = {name.removeprefix(_DATA_PARALLEL): array for name, array in tensors.items()}
    names = name_map(model)
    missing, leftover = sorted(set(names) - set(tensors)), sorted(set(tensors) - set(names))
    if missing or leftover:
        parts = [f"lacks {', '.join(missing)}"] if missing else []
        parts += [f"holds {', '.join(leftover)}, which it has no place for"] if leftover else []
        raise UserError(f"{source}: does not fit {_describe(model)}: {'; '.join(parts)}.")
    values = {name: _to_keras(tensors[name]) for name in names}
    for name, variable in names.items():
        if values[name].shape != tuple(variable.shape):
            raise UserError(
                f"{source}: {name} has shape {tensors[name].shape}, which {_describe(model)} has "
                f"no place for; choose the --task that the checkpoint was trained for."
            )
    alphas = {float(values[name].item()) for name in names if name.endswith(_PRELU)}
    if len(alphas) != 1:
        raise UserError(f"{source}: its PReLUs differ ({sorted(alphas)}); expected one, shared.")
    for name, variable in names.items():
        variable.assign(values[name])


def load_checkpoint(model: MPRNet, path: str) -> None:
    """Reads a PyTorch checkpoint into a built model of all three stages, without running it.

    Args:
      model: an MPRNet of the task that the checkpoint was trained for.
      path: of the checkpoint.

    Raises:
      UserError: from `restore_tf.weights.pytorch_files.read_state_dict` and `load_state_dict`.
    """
    load_state_dict(model, read_state_dict(path), path)


def files(path: str) -> list[Path]:
    """Returns the checkpoint's files that exist, for their checksums.

    Args:
      path: the checkpoint's path.
    """
    return [Path(path)] if Path(path).is_file() else []


def identify(model: MPRNet) -> None:
    """Returns None: no checksum of the published files is known.

    Args:
      model: with loaded weights.
    """


def _to_keras(tensor):
    if tensor.ndim == 4:
        return np.ascontiguousarray(np.transpose(tensor, (2, 3, 1, 0)), np.float32)
    return tensor.reshape(1, 1, 1).astype(np.float32) if tensor.size == 1 else tensor


def _describe(model):
    config = model.get_config()
    return (
        f"an MPRNet with n_feat {config['n_feat']}, scale_unetfeats {config['scale_unetfeats']}, "
        f"scale_orsnetfeats {config['scale_orsnetfeats']}, num_cab {config['num_cab']}"
    )
