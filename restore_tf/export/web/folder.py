"""The static folder: the page, its models, LiteRT.js, and the manifest that the page reads.

    web/index.html, *.js, *.css     the page, the same for every model
    web/manifest.json               the models, how each is cut up and blended, and the runtime
    web/models/NAME.tflite          with NAME.json, as `--format tflite` writes them
    web/models/NAME_probe_*.png     a tile and what the file makes of it, to check WebGPU against
    web/litertjs/                   LiteRT.js

Tiles, overlap and blending are those of `restore.py --tflite`: the manifest says what `LiteModel`
says of a file, and `page/tiles.js` is `inference/blended_tiles.py` in JavaScript.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from restore_tf.errors import UserError
from restore_tf.export.samples import Samples
from restore_tf.export.web import litertjs
from restore_tf.inference.restore import restore
from restore_tf.inference.tflite_model import LiteModel, is_bytes
from restore_tf.system.version import version

FORMAT = 1
MAX_PIXELS = 64_000_000  # of the larger of picture and result; canvases hold four bytes of each
MODELS = "models"
_PAGE = Path(__file__).with_name("page")
_FIGURES = ("psnr_to_float", "psnr_loss", "loss_of", "ms")


def write(
    folder: Path,
    rows: Sequence[Mapping[str, Any]],
    library: Mapping[str, bytes],
    samples: Samples,
) -> dict[str, Any]:
    """Writes everything but the TFLite files, which must lie in `folder`/models already.

    Args:
      folder: the folder; it must exist.
      rows: what `tflite.make.export` says of each file that was written.
      library: LiteRT.js, of `litertjs.files`.
      samples: pictures; a tile of the first one becomes the probe.

    Returns:
      The manifest, see `_model` for its models.

    Raises:
      UserError: a file that a page cannot run.
    """
    models = [_model(folder, row, samples) for row in rows]
    scale = max(model["output_scale"] for model in models)
    for path in sorted(_PAGE.iterdir()):
        shutil.copyfile(path, folder / path.name)
    for name, content in library.items():
        path = folder / "litertjs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    manifest = {
        "format": FORMAT,
        "version": version(),
        "max_pixels": MAX_PIXELS // scale**2,
        "blending": "linear over what tiles share",
        "models": models,
        "runtime": {
            "name": litertjs.NAME,
            "version": litertjs.VERSION,
            "licence": litertjs.LICENCE,
            "files": {
                f"litertjs/{name}": hashlib.sha256(content).hexdigest()
                for name, content in library.items()
            },
        },
    }
    text = json.dumps(manifest, indent=2) + "\n"
    (folder / "manifest.json").write_text(text, encoding="utf-8")
    return manifest


def _model(folder, row, samples):
    """One model of the manifest; what it says of sizes and colours is `LiteModel`'s."""
    path = folder / MODELS / row["file"]
    model = LiteModel(path)
    _check(model, path)
    return {
        "file": f"{MODELS}/{path.name}",
        "bytes": path.stat().st_size,
        "sha256": row["sha256"],
        "model": model.metadata["model"],
        "kind": model.kind,
        "size": list(model.size),
        "overlap": list(model.overlap),
        "tile_step": model.blended_tile.step or model.size_multiple,
        "size_multiple": model.size_multiple,
        "padding": model.padding,
        "output_scale": model.output_scale,
        "channels": model.channels,
        "colour": model.colour,
        **{
            side: {"type": tensor["type"], "shape": tensor["shape"]}
            for side, tensor in model.describe().items()
        },
        **{name: row[name] for name in _FIGURES if name in row},
        "probe": _probe(model, path, samples),
    }


def _check(model, path):
    """Refuses what `page/session.js` does not do."""
    types = {tensor["type"] for tensor in model.describe().values()}
    if model.size is None or types - {"float32", "uint8"}:
        raise UserError(f"{path.name}: a page runs files of fixed size, of floats or bytes, only.")
    if any(scale[0] and not is_bytes(scale) for scale in model.scales):
        raise UserError(f"{path.name}: its bytes are not a picture's; export it again.")
    if model.colour == "luminance" and model.output_scale > 1:
        raise UserError(f"{path.name}: a page does not enlarge by luminance alone.")


def _probe(model, path, samples):
    """Writes a tile and what the native interpreter makes of it; returns both files' names."""
    (degraded,), _ = samples.crops(model.size, count=1, dtype=np.uint8)
    names = []
    for what, pixels in (("degraded", degraded), ("restored", restore(model, degraded))):
        names.append(f"{MODELS}/{path.stem}_probe_{what}.png")
        Image.fromarray(pixels).save(path.with_name(Path(names[-1]).name))
    return names
