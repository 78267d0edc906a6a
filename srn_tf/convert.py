"""The authors' TensorFlow 1 checkpoints: which of their variables is which of our weights.

Weights are matched by name, never by position. Kernels need no transposing: TF1 and Keras both keep
(height, width, in, out) for convolutions and (height, width, out, in) for transposed ones.
"""

from __future__ import annotations

import keras
import numpy as np

from restore_tf.errors import UserError
from srn_tf.model import SRN

# What a training checkpoint holds beside the weights: Adam's slots and the step counters.
_TRAINING_STATE = ("/Adam", "/Adam_1", "beta1_power", "beta2_power")


def name_map(model: SRN) -> dict[str, keras.Variable]:
    """Returns {name in the authors' checkpoint: the model's variable} for every weight."""
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
