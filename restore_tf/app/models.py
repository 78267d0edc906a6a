"""The networks that the application offers, by name, loaded on first use."""

from __future__ import annotations

import collections
import dataclasses
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from restore_tf.app.refusals import NotFound
from restore_tf.errors import UserError

LOADED = 4  # networks that are kept in memory


@dataclasses.dataclass(frozen=True)
class Entry:
    """One network.

    Attributes:
      name: its name in requests.
      kind: "weights", "run" or "tflite".
      summary: a phrase on what it does.
      load: returns the network with a number of stages (None: all); raises UserError if the
        network has no stages to choose.
      terms: licence and holder; "" if unknown.
      exclusive: whether only one thread may use it at a time.
    """

    name: str
    kind: str
    summary: str
    load: Callable[[int | None], Any]
    terms: str = ""
    exclusive: bool = False


@dataclasses.dataclass
class Loaded:
    """A network in memory.

    Attributes:
      model: a `Restorer` or a `tflite_model.LiteModel`.
      lock: to hold while it computes, if only one thread may use it at a time; else None.
      seconds_per_pixel: of the latest picture; None before the first.
    """

    model: Any
    lock: threading.Lock | None = None
    seconds_per_pixel: float | None = None


class Catalogue:
    """The available networks, the default first. Thread-safe."""

    def __init__(self, entries: Iterable[Entry], precision: str = "float32"):
        """Makes a catalogue. Networks are loaded on first use.

        Args:
          entries: the networks.
          precision: "float32" or "bfloat16", for display.

        Raises:
          UserError: no network, or two networks of the same name.
        """
        self.entries: dict[str, Entry] = {}
        self.precision = precision
        for entry in entries:
            if entry.name in self.entries:
                raise UserError(f"{entry.name}: two networks have this name; rename a folder.")
            self.entries[entry.name] = entry
        if not self.entries:
            raise UserError("no networks; expected --workdir, --weights or --tflite.")
        self._loaded: collections.OrderedDict[tuple, Loaded] = collections.OrderedDict()
        self._lock = threading.Lock()

    @property
    def default(self) -> str:
        """The network of requests that name none."""
        return next(iter(self.entries))

    def find(self, name: str | None) -> Entry:
        """Returns a network's entry.

        Args:
          name: of the network; None for the default.

        Raises:
          NotFound: no network has this name.
        """
        if name is None:
            return self.entries[self.default]
        if name not in self.entries:
            raise NotFound(f"model {name[:60]}: not here; there are {', '.join(self.entries)}.")
        return self.entries[name]

    def load(self, name: str | None, stages: int | None = None) -> Loaded:
        """Returns a network ready to run; the least recently used one is unloaded for it.

        Args:
          name: of the network; None for the default.
          stages: number of stages to run; None for all.

        Raises:
          UserError: it cannot be loaded, or has no stages.
        """
        entry = self.find(name)
        key = entry.name, stages
        with self._lock:  # one is loaded at a time
            if key not in self._loaded:
                lock = threading.Lock() if entry.exclusive else None
                self._loaded[key] = Loaded(entry.load(stages), lock)
            self._loaded.move_to_end(key)
            while len(self._loaded) > LOADED:
                self._loaded.popitem(last=False)
            return self._loaded[key]


def entries(
    weights: Sequence[str],
    workdirs: Sequence[str],
    tflite: Sequence[str],
    precision: str = "float32",
) -> list[Entry]:
    """Returns the networks that the command's flags name.

    Args:
      weights: names of published weights. If no network is named at all: those in the package and
        the downloaded ones, the default ones first.
      workdirs: run directories, also of chains.
      tflite: files of export.py.
      precision: "float32" or "bfloat16", of weights and runs.

    Raises:
      UserError: a run, weights or a file is missing.
    """
    chosen = list(weights)
    if not (weights or workdirs or tflite):
        from restore_tf.weights import published

        names = [name for name in published.all_published() if published.is_here(name)]
        chosen = sorted(names, key=lambda name: not published.find(name).default)
    runs = [_run(place, precision) for place in workdirs]
    files = [_file(place) for place in tflite]
    return [*runs, *files, *(_published(name, precision) for name in chosen)]


def _published(name, precision):
    from restore_tf.weights import published

    entry, place = published.find(name), published.path(name)
    terms = f"{entry.licence}, {entry.holder}"
    return Entry(name, "weights", entry.summary, _loader(place, precision), terms)


def _run(place, precision):
    from restore_tf.experiments import experiment

    recipe, _ = experiment.read(place)
    name = Path(place).resolve().name
    return Entry(name, "run", f"{recipe.model}, recipe {recipe.recipe}", _loader(place, precision))


def _loader(place, precision):
    def load(stages):
        from restore_tf.weights.load import load_model

        return load_model(place, precision=precision, stages=stages)

    return load


def _file(place):
    from restore_tf.inference.tflite_model import LiteModel

    model = LiteModel(place)  # loaded here: a damaged file is found at once

    def load(stages):
        if stages is not None:
            raise UserError(f"stages {stages}: a TFLite file is one network; leave it out.")
        return model

    size = "any size" if model.size is None else "tiles of {}x{} pixels".format(*model.size)
    return Entry(model.name, "tflite", f"TFLite, {model.kind}, {size}", load, exclusive=True)
