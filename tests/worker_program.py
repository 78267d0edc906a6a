"""What every worker does in `multiworker_options_test.py`, by the Python API: python … FOLDER.

One pair of processes trains every case, one after another: starting them takes longer than a case.
Each writes down what it saw as FOLDER/INDEX.json; who starts them sets TF_CONFIG.
"""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np
import tensorflow as tf
from tiny_training import light, run, some_batch, tiny

from restore_tf.experiments import experiment
from restore_tf.training import strategies
from restore_tf.training.state import State
from restore_tf.training.step import make_step

# {what: (recipe, changes of it, options of a training, micro-batches of one device, of each of two
# workers)}. In 16 bits all go image by image: rounding is then the same, and only sums in float32
# are taken in another order.
CASES = {
    "micro-batches": (tiny, {"recurrent_clip_norm": 1e-3}, {}, 1, 2),
    "progressive patches": (light, {"progressive": ((4, 24, 4),)}, {"seed": 5}, 1, 1),
    "mixed_bfloat16": (light, {"steps": 1}, {"precision": "mixed_bfloat16"}, 4, 2),
    "mixed_float16": (light, {"steps": 1}, {"precision": "mixed_float16"}, 4, 2),
}  # in 16 bits a weight that differs in its last bit rounds otherwise from the second step on


def train_case(name, folder, workers=1, strategy="one"):
    """Trains a case into a folder of its name; returns that."""
    make, changes, options, *parts = CASES[name]
    recipe = make(
        **{"steps": 8, "batch": 4, "ema_momentum": 0.9, "global_clip_norm": 1.0} | changes
    )
    options = options | {"validate_every": 5, "log_every": 1, "accumulate": parts[workers - 1]}
    run(folder / name, recipe, strategy=strategy, **options)
    return folder / name


def recording(calls, validations):
    """A callback that writes down what it is called with."""

    def on_epoch_end(epoch, logs):
        calls.append(f"epoch {epoch}: {sorted(logs)}")
        validations.append(logs["val_psnr"])

    return keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: calls.append("train begins"),
        on_train_batch_begin=lambda batch, logs: calls.append(batch),
        on_epoch_end=on_epoch_end,
        on_train_end=lambda logs: calls.append("train ends"),
    )


def overflow(strategy, index):
    """A step in which the second worker's gradients overflow, then one in which nobody's do."""
    recipe = light()
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = experiment.build(recipe)
        state = State(recipe, model, loss_scaling=True)
        model.compile(state.main.optimizer, recipe.loss)
    before = [v.numpy() for v in model.trainable_variables]
    images, sharp, seeds = some_batch(1)
    step = make_step(recipe, strategy, state)

    def do(batch):
        data = tf.data.Dataset.from_tensor_slices((batch, sharp, seeds)).batch(1)
        batches = iter(strategy.distribute_datasets_from_function(lambda context: data))
        step(next(batches))
        moved = max(
            float(np.abs(v.numpy() - old).max())
            for v, old in zip(model.trainable_variables, before, strict=True)
        )
        return {
            "moved": moved,
            "updates": int(state.main.optimizer.iterations.numpy()),
            "scale": float(state.main.optimizer.dynamic_scale.numpy()),
        }

    bad = np.full_like(images, np.inf) if index == 1 else images
    return {"after the overflow": do(bad), "after a good step": do(images)}


def fine_tune(folder, strategy):
    """Starts from another run; its rate falls on plateaus, and it ends early."""
    frozen = light(
        steps=40,
        batch=4,
        schedule="constant",
        learning_rate=1e-12,
        end_learning_rate=3e-13,
        plateau_patience=1,
        plateau_factor=0.5,
    )
    run(
        folder / "fine-tuned",
        frozen,
        strategy=strategy,
        init_from=str(folder / "progressive patches"),
        validate_every=2,
        log_every=1,
        early_stopping=3,
    )


def main(folder):
    """Does it all and writes it down."""
    strategy = strategies.make_strategy("multiworker")
    index = strategy.cluster_resolver.task_id
    seen = overflow(strategy, index)
    for name in CASES:
        train_case(name, folder, workers=2, strategy=strategy)
    fine_tune(folder, strategy)
    seen |= {"calls": [], "validations": []}
    recorder = recording(seen["calls"], seen["validations"])
    frozen = light(steps=40, learning_rate=1e-12, end_learning_rate=1e-12)
    stopper = keras.callbacks.EarlyStopping(monitor="val_psnr", mode="max", patience=2)
    callbacks = [recorder, stopper]
    result = run(folder / "stopped", frozen, strategy=strategy, callbacks=callbacks)
    seen["stopped at"] = result.step
    (folder / f"{index}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
