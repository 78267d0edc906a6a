"""The installed papers: each announces itself by an entry point, and this package names none.

A paper is a module with

    RECIPES    {name: function of the model's name that returns an `Experiment`}, the paper's first
    VARIANTS   {model name: constructor arguments}
    build      function of an `Experiment` that returns its network, a `Restorer`

and optional attributes (`PLAN_CANDIDATES`, `make_parts`, `make_step`, `COMPARED`, …), for which
shared code has defaults. A package announces it in its setup.py,

    entry_points={"restore_tf.papers": ["srn = srn_tf.recipes"]}

and its models are called by that name or by it and a suffix: "srn", "srn_lstm". In a checkout that
is not installed, the module `<name>_tf.recipes` is found by its name alone.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.metadata
import os
import re
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

from restore_tf.errors import UserError
from restore_tf.system import quiet

GROUP = "restore_tf.papers"
CHAINS = "restore_tf.chains"  # group of the entry points of chains, see `chain_recipe`
_OWN = {"chain": "restore_tf.weights.chains"}  # a chain of any papers' networks


def find(model: str) -> ModuleType:
    """Returns the module of a model's paper.

    Args:
      model: a paper's name or one of its variants, such as "srn" or "srn_lstm".

    Raises:
      UserError: no such paper or variant; names the close ones.
    """
    name = model.split("_")[0]
    # The name ends up in an import; letters and digits alone cannot reach outside `*_tf`.
    if not re.fullmatch(r"[a-z][a-z0-9]*", name):
        raise UserError(f"--model {model}: not the name of a model; there are {listed(names())}.")
    module = _load(name)
    if module is None:
        raise UserError(f"--model {model}: no such paper; there are {listed(names(), name)}.")
    if model not in module.VARIANTS:
        raise UserError(f"--model {model}: {name} has {listed(module.VARIANTS, model)}.")
    return module


def names() -> list[str]:
    """Returns the names of all papers that are announced, in alphabetical order."""
    return sorted(_announced())


def models() -> list[str]:
    """Returns the names of all models: every paper's variants."""
    return [model for name in names() for model in _load(name).VARIANTS]


def compared() -> list[str]:
    """Returns the models that `restore-tf compare` trains where none are named.

    A paper announces that its first model is one of them by `COMPARED = True` beside its recipes.
    """
    return [name for name in names() if getattr(_load(name), "COMPARED", False)]


def converter(model: str) -> ModuleType:
    """Returns the module that reads a paper's published weights.

    The paper's own module where it has `load_checkpoint`, else `convert` beside it.

    Args:
      model: a paper's name or one of its variants.

    Raises:
      UserError: as `find`, or there is no converter.
    """
    module = find(model)
    if hasattr(module, "load_checkpoint"):
        return module
    package = module.__name__.rpartition(".")[0]
    try:
        return importlib.import_module(f"{package}.convert")
    except ModuleNotFoundError as error:
        if error.name != f"{package}.convert":
            raise
        raise UserError(f"--model {model}: there are no published weights to convert.") from None


def sibling_module(model: str, name: str) -> ModuleType | None:
    """Returns a module of a paper's package, or None; its recipes are not imported.

    Recipes import Keras, and with it TensorFlow. What must be known earlier lies beside them: a
    paper with recipes that oneDNN's kernels slow down on AVX2 lists the others as
    `onednn.FASTER_RECIPES`. Where all are faster as long as they are validated on the small
    synthetic pictures, it lists those that take them by default as `onednn.SYNTHETIC_RECIPES`.

    Args:
      model: a paper's name or one of its variants.
      name: of the module, such as "onednn".
    """
    paper = model.split("_")[0]
    package = _announced().get(paper, f"{paper}_tf.recipes").rpartition(".")[0]
    path = f"{package}.{name}"
    if not package or not re.fullmatch(r"[\w.]+", path, re.ASCII):
        return None
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name not in (path, package):
            raise
        return None


def inference_options(experiment, options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the constructor arguments that a user changes for inference, in the paper's terms.

    A paper may define `inference_options(experiment, options) -> options`, to turn a user's option
    (`local_attention=True`) into what its constructor takes (a number of pixels).

    Args:
      experiment: the run's `Experiment`.
      options: {name: value} as the user gave them.

    Returns:
      {constructor argument: value}.
    """
    translate = getattr(find(experiment.model), "inference_options", None)
    return dict(options) if translate is None else translate(experiment, dict(options))


def chain(name: str):
    """Returns the `chain_recipe.ChainRecipe` that a package announces under a name.

    Args:
      name: of the entry point in the group `restore_tf.chains`.

    Raises:
      UserError: there is none; lists those there are.
    """
    known = {point.name: point.value for point in importlib.metadata.entry_points(group=CHAINS)}
    if name not in known:
        raise UserError(f"--recipe {name}: no such chain; there are {listed(known, name)}.")
    return importlib.import_module(known[name]).CHAIN


def listed(words: Iterable[str], wrong: str | None = None) -> str:
    """Returns "a, b, c", with a hint where one of the words is close to a misspelt one.

    Args:
      words: the words that are right.
      wrong: the misspelt word; None for no hint.
    """
    words = list(words)
    close = difflib.get_close_matches(wrong, words, n=1) if wrong else []
    hint = f" (did you mean {close[0]}?)" if close else ""
    return ", ".join(words) + hint


def refresh() -> None:
    """Reads the entry points again, after a package was installed or its folder put on the path."""
    _announced.cache_clear()


@functools.cache
def _announced() -> dict[str, str]:
    """{name: module} of our own and of all entry points.

    The same name twice is an error of the installation.
    """
    found = dict(_OWN)
    for point in importlib.metadata.entry_points(group=GROUP):
        if found.setdefault(point.name, point.value) != point.value:
            raise UserError(
                f"two packages announce a paper {point.name!r}: {found[point.name]} and "
                f"{point.value}; uninstall one."
            )
    return found


def _load(name):
    """The module of a paper, None where there is none."""
    path = _announced().get(name, f"{name}_tf.recipes")
    if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow":
        quiet.import_tensorflow()  # recipes import it, and it prints lines about the processor
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name not in (path, path.rpartition(".")[0]):
            raise
        if name in _announced():
            raise UserError(
                f"{path}: is announced as the paper {name} and cannot be found; install its "
                "package again."
            ) from None
        return None
