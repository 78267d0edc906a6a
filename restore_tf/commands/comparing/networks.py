"""Restores pictures with the networks of a comparison, which are loaded when needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from restore_tf.commands.comparing.entries import Entry
from restore_tf.evaluation.comparison.scoring import Restore, Scorer, TestPairs
from restore_tf.experiments import experiment as experiments
from restore_tf.networks.steps import is_step, step_network
from restore_tf.pictures.files import read_rgb
from restore_tf.weights import published
from restore_tf.weights.run import load_weights

LOADED = 3  # networks that stay loaded


class Networks:
    """Restores pictures with the entries of a comparison.

    Args:
      entries: {name: entry}, all of them.
      seed: of samplers' noise.
    """

    def __init__(self, entries: Mapping[str, Entry], seed: int):
        self._entries, self._seed = entries, seed
        self._loaded: dict[tuple, Any] = {}

    def digest(self, entry: Entry) -> str:
        """Returns a text of all that determines an entry's pictures: weights, links, seed.

        Args:
          entry: a network or a chain.

        Raises:
          UserError: a run without weights.
        """
        from restore_tf.weights import chains

        runs = [self._entries[link].run for link in entry.links] or [entry.run]
        return " ".join(
            [*(chains.digests([run]).get(run, run) for run in runs), f"seed {self._seed}"]
        )

    def restore(self, entry: Entry, scorer: Scorer, pairs: TestPairs) -> Restore:
        """Returns the function that restores a block's pictures.

        A chain starts from its first link's files in the folder, in 8 bits.

        Args:
          entry: a network or a chain.
          scorer: knows the pictures' paths.
          pairs: the block.
        """
        if not entry.links:
            return lambda name, degraded: self.restore_picture(entry.run, degraded)
        first, *others = entry.links

        def chained(name, degraded):
            path = scorer.path(pairs, first, name)
            picture = read_rgb(path) if path.is_file() else None
            if picture is None:
                picture = self.restore_picture(self._entries[first].run, degraded)
            for link in others:
                picture = self.restore_picture(self._entries[link].run, picture)
            return picture

        return chained

    def restore_picture(self, run: str, picture: np.ndarray, **options: Any) -> np.ndarray:
        """Restores a (height, width, 3) uint8 picture with a run.

        Args:
          run: a run directory or a published name.
          picture: the degraded one.
          options: of inference, such as steps=4.
        """
        from restore_tf.inference import restore

        return restore.restore(self.model(run, **options), picture, seed=self._seed)

    def model(self, run: str, **options: Any):
        """Returns the network of a run; the last few stay loaded.

        Args:
          run: a run directory, a published name or a step without weights.
          options: of inference, such as steps=4.

        Raises:
          UserError: as `load_model`.
        """
        from restore_tf.weights import load

        key = (run, *sorted(options.items()))
        if key not in self._loaded:
            model = None
            if len(self._loaded) == LOADED:
                model = self._with_other_weights(run, options)
                if model is None:
                    self._loaded.pop(next(iter(self._loaded)))
            if model is None:
                step = is_step(run)
                model = step_network(run) if step else load.load_model(run, network=options)
            self._loaded[key] = model
        return self._loaded[key]

    def _with_other_weights(self, run, options):
        """A loaded network of the same kind with the run's weights; None if there is none.

        It need not be traced again.
        """
        kind = None if is_step(run) else _kind(run, options)
        for key in reversed(self._loaded):
            other, *others = key
            if kind is not None and not is_step(other) and _kind(other, dict(others)) == kind:
                model = self._loaded.pop(key)
                load_weights(published.resolve(run), model)
                return model
        return None


def _kind(run, options):
    """What determines a network but for its weights; None of a chain, which loads its links'."""
    recipe, record = experiments.read(published.resolve(run))
    if record.links or recipe.network.get("links"):
        return None
    return recipe.model, repr(sorted(recipe.network.items())), repr(sorted(options.items()))
