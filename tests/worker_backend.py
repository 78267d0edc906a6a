"""What `backends_test.py` does on JAX and PyTorch, in one process without TensorFlow.

The numbers go into files of a folder; its cases are {name: (model class, its arguments)}, whose
weights and inputs lie there.
"""

import importlib
import json
import sys
from pathlib import Path

import keras
import numpy as np
from tiny_training import simple, some_batch, source, toy

from restore_tf import training
from restore_tf.commands import train as command
from restore_tf.experiments import experiment, papers
from restore_tf.networks import losses
from restore_tf.training.options import Options

COMMAND = (
    "train.py --model=srn --set=network.width=4 --set=network.res_blocks=0 --set=network.scales=2 "
    "--set=batch=2 --set=crop=32 --steps=4 --checkpoint_every=2 --validate_every=4 "
    "--log_every=2 --validation_pictures=1"
).split()


def train(workdir, recipe, callbacks=(), **options):
    """Trains by the Python API; returns the last step."""
    experiment.write(workdir, recipe, {"seed": 0})
    options = Options(**{"validate_every": 2, "checkpoint_every": 2, "log_every": 1} | options)
    return training.train(recipe, workdir, source(), source(3), options, callbacks=callbacks).step


class StopAt(keras.callbacks.Callback):
    """Ends a training after a step, with a checkpoint."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def on_train_batch_end(self, batch, logs=None):
        """Looks at the step."""
        self.model.stop_training = batch + 1 == self.step


def trainings(folder):
    """The command, a run that resumes beside one that does not, and Keras' own callbacks."""
    sys.path.insert(0, str(Path(__file__).with_name("toys")))
    papers.refresh()
    done = {"exit code": command.main([*COMMAND, f"--workdir={folder / 'command'}"])}
    recipe = simple(ema_momentum=0.9, plateau_patience=1, global_clip_norm=1e-2, best_metric="loss")
    train(folder / "whole", recipe)
    done["broken off at"] = train(folder / "parts", recipe, [StopAt(3)])
    train(folder / "parts", recipe)
    frozen = simple(steps=20, learning_rate=1e-12, end_learning_rate=1e-15)
    monitor = {"monitor": "val_psnr", "mode": "max"}
    callbacks = [
        keras.callbacks.EarlyStopping(patience=3, **monitor),
        keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=1, min_delta=0, **monitor),
    ]
    done["stopped at"] = train(folder / "callbacks", frozen, callbacks, validate_every=1)
    return done


def fit():
    """Two steps of `fit` with the toy sampler, whose training loss draws noise."""
    model = experiment.build(toy("sampler"))
    model.compile(keras.optimizers.SGD(0.1), "charbonnier_edge")
    kernel, bias = model.trainable_variables
    kernel.assign(np.eye(3)[None, None])
    bias.assign(np.zeros(3))
    degraded, sharp, seeds = some_batch()
    history = model.fit(degraded, sharp, sample_weight=seeds, epochs=2, verbose=0).history
    kernel, bias = (keras.ops.convert_to_numpy(v).tolist() for v in (kernel, bias))
    return {"loss": history["loss"], "kernel": kernel[0][0], "bias": bias}


def stages(folder, cases):
    """Writes what every network makes of its input."""
    # The weights come from files; JAX would compile their initialisation for every shape.
    for name in ("VarianceScaling", "TruncatedNormal", "RandomNormal"):
        kind = getattr(keras.initializers, name)
        kind.__call__ = lambda self, shape, dtype=None: keras.ops.zeros(shape, dtype)
    for name, (kind, arguments) in cases.items():
        module, _, kind = kind.rpartition(".")
        model = getattr(importlib.import_module(module), kind)(**arguments)
        model.built = True  # its build would run the network, which JAX compiles piece by piece
        side = model.size_multiple
        model(keras.KerasTensor((1, side, side, model.channels)))
        variables = importlib.import_module(module.replace("model", "convert")).name_map(model)
        saved, images = np.load(folder / f"{name}_weights.npz"), np.load(folder / f"{name}.npy")
        assert set(variables) == set(saved)
        for key, variable in variables.items():
            variable.assign(saved[key])
        np.savez(folder / f"{name}_stages.npz", *model.predict_on_batch(images))


def main(folder, cases, texts):
    """Does it all and writes down what happened.

    Args:
      folder: where the numbers are and go.
      cases: a JSON object.
      texts: a JSON list of losses by name.
    """
    folder, cases, texts = Path(folder), json.loads(cases), json.loads(texts)
    done = {"backend": keras.backend.backend(), **trainings(folder), "fit": fit()}
    assert "tensorflow_datasets" not in sys.modules
    stages(folder, cases)
    sharp, restored = (np.load(folder / f"{name}.npy") for name in ("sharp", "restored"))
    total = losses.charbonnier_edge(keras.ops.array(sharp), [keras.ops.array(restored)])
    done["loss"] = float(keras.ops.mean(total))
    for text in texts:
        loss = losses.get(text)
        if keras.backend.backend() == "jax":  # as trainings do; else it compiles piece by piece
            loss = importlib.import_module("jax").jit(loss)
        values = loss(keras.ops.array(sharp), [keras.ops.array(restored)])
        done.setdefault("losses", {})[text] = keras.ops.convert_to_numpy(values).tolist()
    (folder / "done.json").write_text(json.dumps(done))
