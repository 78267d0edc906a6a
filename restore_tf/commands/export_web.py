"""`export.py --format web`: a run as a page that restores inside the browser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from restore_tf.commands.flags import model as model_flags
from restore_tf.errors import UserError
from restore_tf.export.web import litertjs
from restore_tf.system import outputs

FOLDER = "web"
KINDS = ("float16", "uint8")  # half the download of float32; the fastest on CPUs
_PAGE = "index.html"


def define_flags(values: flags.FlagValues) -> None:
    """Defines the flags of the page alone.

    Args:
      values: the command's flags.
    """
    flags.DEFINE_string(
        "litertjs",
        None,
        f"web: a folder with {litertjs.NAME} as npm pack writes it, to use in place of npm",
        flag_values=values,
    )


def prepare(output: Path, values: flags.FlagValues) -> Mapping[str, bytes]:
    """Checks the output folder before the work; returns the files of LiteRT.js.

    Args:
      output: the export's folder.
      values: the command's flags.

    Returns:
      {name: bytes}.

    Raises:
      UserError: an earlier page without --overwrite, no npm, or a damaged --litertjs.
    """
    earlier = outputs.Record(output)
    earlier.check_overwrite(output / FOLDER / _PAGE, values.overwrite)
    earlier.check_name(FOLDER)
    return litertjs.files(values.litertjs)


def kinds(values: flags.FlagValues) -> Sequence[str]:
    """Returns the kinds of file that the page offers: those of --kinds, else `KINDS`.

    Args:
      values: the command's flags.
    """
    return values.kinds if values["kinds"].present else KINDS


def export(
    output: Path,
    run: Path,
    sizes: Sequence[tuple[int, int]],
    pictures,
    library: Mapping[str, bytes],
    values: flags.FlagValues,
) -> tuple[list[dict[str, Any]], int]:
    """Writes OUTPUT/web.

    Args:
      output: the export's folder.
      run: the run directory.
      sizes: (height, width) of its files.
      pictures: `samples.Samples` to calibrate and compare on.
      library: the result of `prepare`.
      values: the command's flags.

    Returns:
      Entries for the folder's record, and the number of refused files.

    Raises:
      UserError: no file is good enough.
    """
    from restore_tf.export.tflite import make
    from restore_tf.export.web import folder

    wanted = list(dict.fromkeys(sizes))
    with outputs.staged(output, [FOLDER], cleared=[FOLDER]) as staging:
        page = staging / FOLDER
        rows = make.export(
            run,
            model_flags.arguments(values),
            page / folder.MODELS,
            sizes=wanted,
            kinds=kinds(values),
            samples=pictures,
            max_psnr_drop=values.max_psnr_drop,
        )
        written = [row for row in rows if row["written"]]
        if not written:
            reasons = "; ".join(f"{row['file']}: {row['reason']}" for row in rows)
            raise UserError(f"--format web: no file is good enough for a page ({reasons}).")
        folder.write(page, written, library, pictures)
        size = sum(path.stat().st_size for path in page.rglob("*") if path.is_file())
    address = output / FOLDER
    print(f"{address}: {size / 1e6:.1f} MB with {litertjs.NAME}; copy it to any web server")
    print(f"  python -m http.server -d {address}    and open http://localhost:8000")
    entry = {
        "path": FOLDER,
        "format": "web",
        "bytes": size,
        "runtime": f"{litertjs.NAME} {litertjs.VERSION}",
        "files": written,
    }
    return [entry], len(rows) - len(written)
