"""The authors' TensorFlow 1 checkpoints, mapped to our weights by name.

Weights are matched by name, never by position. Kernels need no transposing: TF1 and Keras both keep
(height, width, in, out) for convolutions and (height, width, out, in) for transposed ones.
"""

from __future__ import annotations

import json
import struct
import tempfile
from pathlib import Path

import keras
import numpy as np

from restore_tf.errors import UserError
from srn_tf.model import SRN

TASKS = {"deblurring": "gopro"}  # by task
TERMS = "SRN-DeblurNet's published weights and code: MIT, Copyright (c) 2018 Xin Tao"
NON_COMMERCIAL = False

# What a training checkpoint holds beside the weights: Adam's slots and the step counters.
_TRAINING_STATE = ("/Adam", "/Adam_1", "beta1_power", "beta2_power")


def name_map(model: SRN) -> dict[str, keras.Variable]:
    """Returns {name in the authors' checkpoint: the model's variable} for every weight.

    Args:
      model: a built SRN.
    """
    convolutions = {
        "enc1_1": model.in_block.conv,
        "enc2_1": model.e_block1.conv,
        "enc3_1": model.e_block2.conv,
        "dec2_4": model.d_block1.upconv,
        "dec1_4": model.d_block2.upconv,
        "dec1_0": model.out_block.conv,
    }
    if model.recurrent:
        convolutions["convLSTM/LSTM_conv"] = model.conv_lstm.conv
    count = model.num_res_blocks
    ascending, descending = range(2, count + 2), range(count, 0, -1)
    for prefix, numbers, block in [
        ("enc1", ascending, model.in_block),
        ("enc2", ascending, model.e_block1),
        ("enc3", ascending, model.e_block2),
        ("dec3", descending, model.d_block1),
        ("dec2", descending, model.d_block2),
        ("dec1", descending, model.out_block),
    ]:
        for number, res_block in zip(numbers, block.res_blocks, strict=True):
            convolutions[f"{prefix}_{number}/conv1"] = res_block.conv1
            convolutions[f"{prefix}_{number}/conv2"] = res_block.conv2
    names = {}
    for name, layer in convolutions.items():
        names[f"g_net/{name}/weights"] = layer.kernel
        names[f"g_net/{name}/biases"] = layer.bias
    return names


def load_checkpoint(model: SRN, prefix: str) -> None:
    """Reads a TensorFlow 1 checkpoint into a built model.

    Args:
      model: an SRN of the variant that the checkpoint holds.
      prefix: the checkpoint's path without `.index` and `.data-…`.

    Raises:
      UserError: the files cannot be read, a weight is missing or has another shape, or the
        checkpoint holds weights that the model has no place for. The model is not changed then.
    """
    from tensorflow.train import load_checkpoint as open_checkpoint

    try:
        reader = open_checkpoint(str(prefix))
        shapes = reader.get_variable_to_shape_map()
    except Exception as error:  # TensorFlow raises several kinds for a missing or broken file
        raise UserError(
            f"{prefix}: not a readable TensorFlow checkpoint ({_first_line(error)}); expected the "
            "path of PREFIX.index without its ending."
        ) from None
    names = name_map(model)
    _check_names(prefix, model, shapes, names)
    try:
        values = {name: reader.get_tensor(name) for name in names}
    except Exception as error:
        raise UserError(f"{prefix}: damaged checkpoint ({_first_line(error)}).") from None
    for name, variable in names.items():
        variable.assign(np.asarray(values[name]))


def _check_names(prefix, model, shapes, names):
    for name, variable in names.items():
        if name not in shapes:
            raise UserError(f"{prefix}: lacks {name}, which {_describe(model)} needs.")
        if tuple(shapes[name]) != tuple(variable.shape):
            raise UserError(
                f"{prefix}: {name} has shape {tuple(shapes[name])}, {_describe(model)} needs "
                f"{tuple(variable.shape)}; choose the variant that the checkpoint holds."
            )
    leftovers = [
        name
        for name in sorted(set(shapes) - set(names))
        if name.startswith("g_net/") and not name.endswith(_TRAINING_STATE)
    ]
    if leftovers:
        raise UserError(
            f"{prefix}: holds {', '.join(leftovers)}, which {_describe(model)} has no place for; "
            "choose the variant that the checkpoint holds."
        )


def _describe(model):
    memory = "with" if model.recurrent else "without"
    return f"an SRN of {model.channels} channels, width {model.width}, {memory} ConvLSTM"


def _first_line(error):
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def files(prefix: str) -> list[Path]:
    """Returns the checkpoint's files that exist, for their checksums.

    Args:
      prefix: the checkpoint's path without `.index` and `.data-…`.
    """
    path = Path(prefix)
    return sorted(path.parent.glob(f"{path.name}.index")) + sorted(
        path.parent.glob(f"{path.name}.data-*")
    )


def identify(model: SRN) -> str:
    """Returns which of the authors' published models a network holds the weights of, if any.

    `published.json` has the CRC-32C (masked, as TensorFlow stores it) of every weight of the three
    checkpoints of step 523,000, read from their public indexes; it holds no weights.

    Args:
      model: with loaded weights.

    Returns:
      A sentence.
    """
    table = json.loads(Path(__file__).with_name("published.json").read_text(encoding="utf-8"))
    names = name_map(model)
    best, agreeing = "", 0
    for published, checksums in table.items():
        same = sum(
            name in checksums and checksums[name] == checksum(variable.numpy())
            for name, variable in names.items()
        )
        if same == len(names) == len(checksums):
            return f"the authors' published {published}, step 523000: all {same} checksums agree"
        if same > agreeing:
            best, agreeing = published, same
    if agreeing:
        return f"not a published model: {agreeing} of {len(names)} checksums are those of {best}"
    return "not one of the authors' published models: no checksum agrees"


def checksum(array) -> str:
    """Returns TensorFlow's masked CRC-32C of an array's bytes, in eight hexadecimal digits.

    Args:
      array: of any type and shape.
    """
    from tensorflow.io import TFRecordWriter

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "record")
        with TFRecordWriter(path) as writer:
            writer.write(np.ascontiguousarray(array).tobytes())
        with open(path, "rb") as file:
            file.seek(-4, 2)
            return f"{struct.unpack('<I', file.read())[0]:08x}"
