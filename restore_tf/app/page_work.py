"""The work behind the page's buttons, with a progress line until the results are ready."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gradio as gr
import numpy as np

from restore_tf.app import clips, shown
from restore_tf.app.line import Place
from restore_tf.app.refusals import Cancelled, Refusal
from restore_tf.app.restoring import NAME, Options, Result, refusing
from restore_tf.app.service import Service
from restore_tf.errors import UserError
from restore_tf.system.log import logger

_LOOK = 0.25  # seconds between updates of the progress
Outputs = tuple[Any, Any]  # the status line, the results; `_keep()` leaves one unchanged


@dataclasses.dataclass
class Shown:
    """One picture's part of the results, as `results.html` takes it."""

    title: str
    error: str = ""
    viewer: str = ""
    link: str = ""
    name: str = ""
    size: str = ""
    seconds: str = ""
    warnings: Sequence[str] = ()
    scores: Sequence[shown.Score] = ()


class PageWork:
    """The page's buttons. Each browser tab does one thing at a time."""

    def __init__(self, service: Service, root: str):
        """Makes the buttons' work.

        Args:
          service: the application's parts.
          root: the page's path.
        """
        self._service, self._root = service, root
        self._places: dict[str, Place] = {}

    def cancel(self, request: gr.Request) -> None:
        """Cancels the work of a tab, on its button or because it was closed.

        Args:
          request: of the tab.
        """
        place = self._places.get(request.session_hash)
        if place is not None:
            place.cancel()

    def restore(
        self, uploads, model, strength, stages, ensemble, format, sharp, request: gr.Request
    ) -> Iterator[Outputs]:
        """Restores pictures one after the other; yields the status and the results so far.

        Args:
          uploads: [{"id": name in the store, "name": name in the browser}].
          model: a name in the catalogue.
          strength: 1 for the restored picture, 0 for the unchanged one.
          stages: number of stages to run; 0 for all.
          ensemble: mean over eight flips and rotations.
          format: an ending without its dot; "" for the picture's own format.
          sharp: an upload to compare a single picture with, in the form of `uploads`.
          request: of the tab.
        """
        uploads = _checked(uploads, self._service.limits.pictures)
        if not uploads:
            yield _status("Choose a picture first.", "error"), _keep()
            return
        options = _options(model, strength, stages, ensemble, format)
        sharp_files = _checked(sharp, 1)
        done: list[tuple[Shown, str]] = []
        for number, upload in enumerate(uploads):
            what = f"Picture {number + 1} of {len(uploads)}" if len(uploads) > 1 else "The picture"
            work = self._one(upload, options, sharp_files if len(uploads) == 1 else [])
            try:
                result = yield from self._follow(request, what, work)
            except (Cancelled, concurrent.futures.CancelledError):
                yield _status(self._why_ended(), "error"), self._results(done)
                return
            except UserError as error:
                result = Shown(upload["name"], error=str(error)), ""
            done.append(result)
            yield _status(f"{what}: done.", "done"), self._results(done)
        failed = sum(bool(result.error) for result, _ in done)
        text = f"{len(done) - failed} of {len(done)} pictures restored." if len(done) > 1 else ""
        text = text or ("It could not be restored." if failed else "Done.")
        note = _sharp_note(sharp_files, uploads)
        yield _status(text + note, "error" if failed else "done"), self._results(done)

    def compare(
        self, uploads, first, second, side, across, down, request: gr.Request
    ) -> Iterator[Outputs]:
        """Restores the same crop by two networks and shows both; yields the status and the viewer.

        Args:
          uploads: one, as for `restore`.
          first: a name in the catalogue.
          second: likewise.
          side: of the crop in pixels.
          across: place of the crop, 0 (left) to 100 (right).
          down: place of the crop, 0 (top) to 100 (bottom).
          request: of the tab.
        """
        uploads = _checked(uploads, 1)
        if not uploads:
            yield _status("Choose a picture first.", "error"), _keep()
            return

        def work(place):
            restoring = self._service.restoring
            with refusing(NAME):
                picture = restoring.read(self._service.store.find(uploads[0]["id"]))
                crop = _crop(picture, int(side), across / 100, down / 100)
                names = {f"1: {first}": first, f"2: {second}": second}
                versions = {"degraded": crop.pixels}
                for label, name in names.items():
                    versions[label], _ = restoring.pixels(crop, Options(name), place)
            left, right = list(names)
            return shown.viewer(versions, self._service.store, self._root, left, right, crop.alpha)

        try:
            viewer = yield from self._follow(request, "The crop", work)
        except (Cancelled, concurrent.futures.CancelledError):
            yield _status(self._why_ended(), "error"), _keep()
        except UserError as error:
            yield _status(str(error), "error"), _keep()
        else:
            yield _status("Done.", "done"), viewer

    def clip(self, uploads, model, strength, request: gr.Request) -> Iterator[tuple]:
        """Restores a clip; yields the status and a link to the result.

        Args:
          uploads: one, as for `restore`.
          model: a name in the catalogue.
          strength: 1 for the restored clip, 0 for the unchanged one.
          request: of the tab.
        """
        uploads = _checked(uploads, 1)
        if not uploads:
            yield _status("Choose a video first.", "error"), _keep()
            return
        options = _options(model, strength, None, False, None)

        def work(place):
            source = self._service.store.find(uploads[0]["id"])
            return clips.restore(self._service, source, options, place)

        try:
            path, frames, warnings = yield from self._follow(request, "The video", work, "frames")
        except (Cancelled, concurrent.futures.CancelledError):
            yield _status(self._why_ended(), "error"), _keep()
        except UserError as error:
            yield _status(str(error), "error"), _keep()
        else:
            link = f"{self._root}/{shown.RESULTS}/{path.name}"
            (name,) = shown.names_for_downloads([uploads[0]["name"]], [path.suffix])
            text = shown.render("clip.html", link=link, name=name, frames=frames, warnings=warnings)
            yield _status("Done.", "done"), text

    def _one(self, upload, options, sharp_files) -> Callable[[Place], tuple[Shown, str]]:
        def work(place):
            store, restoring = self._service.store, self._service.restoring
            result = restoring.file(store.find(upload["id"]), options, place)
            sharp = None
            if sharp_files:
                with refusing("the sharp picture"):
                    sharp = restoring.read(store.find(sharp_files[0]["id"]))
            return self._shown(upload["name"], result, sharp)

        return work

    def _shown(self, name, result: Result, sharp) -> tuple[Shown, str]:
        """Writes a result's files; returns its part of the page and the restored file's name."""
        store, degraded = self._service.store, result.before.pixels
        path = store.new(result.ending)
        path.write_bytes(result.file)
        versions = {"degraded": degraded, "restored": result.pixels}
        scores, notes = (), list(result.warnings)
        if sharp is not None:
            try:
                scores = shown.scores(sharp, versions)
                versions["sharp"] = sharp.pixels
            except Refusal as error:
                notes.append(str(error))
        viewer = shown.viewer(
            versions, store, self._root, "degraded", "restored", result.before.alpha
        )
        (download,) = shown.names_for_downloads([name], [result.ending])
        part = Shown(
            name,
            viewer=viewer,
            link=f"{self._root}/{shown.RESULTS}/{path.name}",
            name=download,
            size=f"{len(result.file) / 1e6:.1f} MB",
            seconds=f"{result.seconds:.1f} s",
            warnings=notes,
            scores=scores,
        )
        return part, path.name

    def _results(self, done):
        parts = [part for part, _ in done]
        files = [(part, name) for part, name in done if name]
        archive = f"{self._root}/{shown.RESULTS}/{self._zip(files)}" if len(files) > 1 else ""
        return shown.render("results.html", results=parts, archive=archive)

    def _zip(self, files):
        """Writes a ZIP file of the restored pictures, as they are; returns its name."""
        store = self._service.store
        path = store.new(".zip")
        names = shown.names_for_downloads(
            [part.title for part, _ in files], [store.find(name).suffix for _, name in files]
        )
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for inside, (_, name) in zip(names, files, strict=True):
                archive.write(store.find(name), inside)
        return path.name

    def _follow(self, request, what, work, unit="pixels"):
        """Yields the status until `work` is done; returns its result.

        Raises:
          UserError: raised by the work.
          Cancelled: it was cancelled.
        """
        session = request.session_hash
        with self._service.line.enter() as place:
            self._places[session] = place
            try:
                future = place.submit(work)
                while not concurrent.futures.wait([future], timeout=_LOOK).done:
                    if place.cancelled:  # the computation ends at its next tile
                        raise Cancelled
                    yield _progress(place, what, unit), _keep()
                return future.result()
            except (UserError, Cancelled, concurrent.futures.CancelledError):
                raise
            except Exception as error:
                logger.exception("the page: %s", error)
                raise Refusal("internal error; see the server's log.") from None
            finally:
                self._places.pop(session, None)

    def _why_ended(self):
        return "The server is stopping." if self._service.line.closed else "Cancelled."


def _checked(uploads: Any, most: int) -> list[Mapping[str, str]]:
    """Checks the value of an area as the browser sent it, [{id, name}]."""
    if not uploads:
        return []
    good = isinstance(uploads, list) and len(uploads) <= most
    good = good and all(
        isinstance(one, dict) and all(isinstance(one.get(key), str) for key in ("id", "name"))
        for one in uploads
    )
    if not good:
        raise gr.Error(f"Expected at most {most} files.")
    return uploads


def _options(model, strength, stages, ensemble, format):
    return Options(
        model=model,
        strength=min(1.0, max(0.0, float(strength))),
        stages=int(stages) if stages else None,
        ensemble=bool(ensemble),
        format=format or None,
    )


def _crop(picture, side, row_share, column_share):
    height, width = picture.pixels.shape[:2]
    side = max(16, min(side, height, width))
    top, left = (round(a * (b - side)) for a, b in ((column_share, height), (row_share, width)))
    rows, columns = slice(top, top + side), slice(left, left + side)
    alpha = None if picture.alpha is None else picture.alpha[rows, columns]
    pixels = np.ascontiguousarray(picture.pixels[rows, columns])
    return dataclasses.replace(picture, pixels=pixels, alpha=alpha)


def _sharp_note(sharp_files, uploads):
    return " The sharp picture goes with a single one." if sharp_files and len(uploads) > 1 else ""


def _progress(place, what, unit):
    if not place.running:
        return _status(f"{what} waits; {place.ahead} before it.", "busy")
    share = place.done / place.total if place.total else None
    left = place.seconds_left
    if share is None and left is not None and place.expected:
        share = min(0.99, 1 - left / place.expected)
    text = f"{what} is being restored"
    if place.total and unit == "frames":
        text += f", frame {place.done} of {place.total}"
    text += "" if left is None else f"; about {_duration(left)} left"
    return _status(f"{text}.", "busy", share)


def _duration(seconds):
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min"


def _status(text, kind, share=None):
    return shown.render("status.html", text=text, kind=kind, share=share)


def _keep():
    return gr.skip()
