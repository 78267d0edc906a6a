"""The layout of the page. `page_work` does the work; `static/` holds script and style."""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping, Sequence
from pathlib import Path

import gradio as gr

from restore_tf.app.page_work import PageWork
from restore_tf.app.service import Service

_ANY = "as the picture"
_FORMATS = [(_ANY, ""), "png", "jpg", "webp", "tiff"]
_CROPS = [128, 256, 384, 512]
# Names of files are not put into this template: what looks like code in them would be run.
_AREA = """<p class="rtf-area-label">${label}</p>
<label class="rtf-area"><input type="file" accept="${accept}" ${many > 1 ? "multiple" : ""}
aria-label="${label}"><span><b>Pick</b>${pasted ? ", drop or paste" : " or drop"}
${what}</span></label>
<ul class="rtf-files"></ul>
<p class="rtf-area-note" role="status" aria-live="polite"></p>"""
_HTTP = """Programs use the HTTP interface: <a href="{root}/docs">{root}/docs</a>.

    curl --data-binary @photo.jpg \\
      http://HOST:PORT{root}/restore \\
      -o restored.jpg

Pictures are sent to this server and restored there. Uploads and results are kept in a temporary
folder and deleted after {minutes:g} minutes. A picture may have {pixels:g} million pixels and
{bytes:.3g} MiB, a video {frames} frames and {clip_bytes:.3g} MiB.
{web}
"""
_WEB = '<a href="{root}/web/">Restore inside your browser</a>: nothing is sent.'


def build(
    service: Service, root: str, examples: Mapping[str, Sequence[Path]], web: bool = False
) -> gr.Blocks:
    """Returns the page.

    Args:
      service: the application's parts.
      root: the path that a proxy in front strips.
      examples: {title: (degraded, sharp)} files.
      web: whether there is a page at /web.
    """
    work = PageWork(service, root)
    with gr.Blocks(title="restore_tf", analytics_enabled=False) as page:
        gr.Markdown("# Restore photos")
        with gr.Tab("Photos"):
            _photos(work, service, root, examples)
        with gr.Tab("Compare"):
            _compare(work, service, root)
        with gr.Tab("Video"):
            _clip(work, service, root)
        with gr.Tab("About"):
            _about(service, root, web)
        page.unload(work.cancel)
    # The queue of `service` bounds the work; this one is long enough for every tab's progress.
    page.queue(default_concurrency_limit=None, max_size=service.limits.queue * 4 + 64)
    return page


def static(name: str) -> str:
    """Returns the text of one of the page's own files.

    Args:
      name: of the file, such as "page.css".
    """
    folder = importlib.resources.files("restore_tf.app").joinpath("static")
    return folder.joinpath(name).read_text(encoding="utf-8")


def _area(label, what, root, kind="picture", many=1, accept="image/*", main=False, name=None):
    """A drop area for files. `main`: it also takes files that are dropped elsewhere on its tab."""
    return gr.HTML(
        [],
        html_template=_AREA,
        js_on_load="restorePage.area(element, props, trigger, watch)",
        label=label,
        what=what,
        kind=kind,
        many=many,
        accept=accept,
        root=root,
        pasted=main and kind == "picture",
        missed=main,
        elem_id=name,
        apply_default_css=False,
    )


def _models(service, label="Model", chosen=0):
    names = list(service.catalogue.entries)
    value = names[min(chosen, len(names) - 1)]
    return gr.Dropdown(names, value=value, label=label, interactive=True)


def _buttons():
    with gr.Row():
        return gr.Button("Restore", variant="primary", min_width=120), gr.Button(
            "Cancel", min_width=120
        )


def _status_line(name=None):
    return gr.HTML(elem_id=name, elem_classes="rtf-status-line")


def _wire(work, button, cancel, function, inputs, outputs):
    silent = {"show_progress": "hidden", "api_visibility": "private"}
    button.click(function, inputs, outputs, trigger_mode="once", **silent)
    cancel.click(work.cancel, None, None, **silent)


def _photos(work, service, root, examples):
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            many = service.limits.pictures
            photos = _area("Photos", "photos", root, many=many, main=True, name="photos")
            model = _models(service)
            strength = gr.Slider(0, 1, 1, step=0.05, label="Strength")
            with gr.Accordion("More", open=False):
                info = "stop after this one; 0: run all"
                stages = gr.Number(0, label="Stages", info=info, precision=0)
                label = "Average over 8 flips and rotations (8 times as slow)"
                ensemble = gr.Checkbox(False, label=label)
                format = gr.Dropdown(_FORMATS, value="", label="File format")
                sharp = _area("A sharp picture to compare with", "one", root, name="sharp")
            button, cancel = _buttons()
            _examples(examples, photos, sharp)
        with gr.Column(scale=2, min_width=300):
            status, results = _status_line("status"), gr.HTML(elem_id="results")
    inputs = [photos, model, strength, stages, ensemble, format, sharp]
    _wire(work, button, cancel, work.restore, inputs, [status, results])


def _examples(examples, photos, sharp):
    if not examples:
        return
    gr.Markdown("Examples, with their sharp pictures:")
    with gr.Row():
        for title, (degraded, original) in examples.items():
            value = [{"id": degraded.name, "name": f"{title}.png"}]
            beside = [{"id": original.name, "name": f"{title} (sharp).png"}]
            gr.Button(title, size="sm", min_width=80).click(
                lambda value=value, beside=beside: (value, beside),
                None,
                [photos, sharp],
                show_progress="hidden",
                api_visibility="private",
            )


def _compare(work, service, root):
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            photo = _area("Photo", "a photo", root, main=True, name="compared")
            first, second = _models(service, "Model 1"), _models(service, "Model 2", 1)
            side = gr.Dropdown(_CROPS, value=256, label="Side of the crop, in pixels")
            across = gr.Slider(0, 100, 50, step=1, label="Across, in %")
            down = gr.Slider(0, 100, 50, step=1, label="Down, in %")
            button, cancel = _buttons()
        with gr.Column(scale=2, min_width=300):
            status, result = _status_line(), gr.HTML(elem_id="comparison")
    inputs = [photo, first, second, side, across, down]
    _wire(work, button, cancel, work.compare, inputs, [status, result])


def _clip(work, service, root):
    limits = service.limits
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            video = _area("Video", "a short video", root, "clip", 1, "video/*", True, "video")
            gr.Markdown(
                f"At most {limits.clip_frames} frames and {limits.clip_bytes / 2**20:.3g} MiB; "
                "each frame is restored by itself, the sound is kept."
            )
            model = _models(service)
            strength = gr.Slider(0, 1, 1, step=0.05, label="Strength")
            button, cancel = _buttons()
        with gr.Column(scale=2, min_width=300):
            status, result = _status_line(), gr.HTML(elem_id="clip")
    _wire(work, button, cancel, work.clip, [video, model, strength], [status, result])


def _about(service, root, web):
    limits = service.limits
    gr.Markdown(
        _HTTP.format(
            root=root,
            minutes=limits.keep_seconds / 60,
            pixels=limits.pixels / 1e6,
            bytes=limits.bytes / 2**20,
            frames=limits.clip_frames,
            clip_bytes=limits.clip_bytes / 2**20,
            web=_WEB.format(root=root) if web else "",
        )
    )
    lines = [
        f"- **{entry.name}**: {entry.summary}{f' ({entry.terms})' if entry.terms else ''}"
        for entry in service.catalogue.entries.values()
    ]
    gr.Markdown("\n".join(["## Models", *lines]))
