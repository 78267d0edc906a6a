"""Papers that no shared code was written for, each with what the others lack; see seams_test.py.

They are announced as a stranger's package would be: by the entry points in the folder beside this.
"""

from restore_tf.experiments.experiment import Experiment


def tiny(model, loss, **changes):
    """A training of a few steps on small crops."""
    fields = {
        "network": {}, "dataset": "folder", "config": "pairs", "steps": 4, "batch": 4, "crop": 16,
        "learning_rate": 1e-3, "end_learning_rate": 1e-3, "schedule": "constant",
    } | changes  # fmt: skip
    return Experiment(model=model, recipe="tiny", loss=loss, **fields)
