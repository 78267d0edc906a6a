"""Which files are pictures and clips, by their endings: the one list of the whole package.

A file's ending decides whether a command takes it, and what is written under its name. What a
picture file really holds is decided by its first bytes (`decoding`).
"""

from __future__ import annotations

import collections
import os
from collections.abc import Iterable
from pathlib import Path

# Ending: the format as Pillow calls it. The first of a format is its usual one.
PICTURES = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".bmp": "BMP",
    ".dib": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}

# The endings of MP4 and QuickTime, Matroska, AVI, MPEG transport and program streams, and Flash.
CLIPS = tuple(
    ".mp4 .m4v .mov .qt .3gp .3g2 .mkv .webm .avi .divx .mts .m2ts .ts .mpg .mpeg .mpe .vob .flv "
    ".f4v".split()
)

_PHOTO = "convert it to JPEG or PNG first"
_RAW = "develop it to TIFF or PNG first"
_PICTURE = "convert it to PNG first"
_DRAWING = "draw it as PNG first"
_ANIMATION = "save its frames as PNG, or convert it to MP4"
_CLIP = "convert it to MP4 first"

# Known, but not read, and what to do instead. Pillow can read AVIF, but not say whether it is HDR.
UNREADABLE = {
    **dict.fromkeys(".heic .heif .hif .heics .avif .avifs".split(), _PHOTO),
    **dict.fromkeys(
        ".dng .arw .cr2 .cr3 .crw .nef .nrw .orf .raf .rw2 .pef .srw .x3f .3fr .iiq .raw".split(),
        _RAW,
    ),
    **dict.fromkeys(
        ".jxl .jp2 .j2k .jpx .jxr .psd .psb .xcf .exr .hdr .tga .dds .ico .icns .ppm .pgm .pbm "
        ".pnm .pfm .pcx .sgi .fits .qoi .mpo .jps".split(),
        _PICTURE,
    ),
    **dict.fromkeys(".svg .svgz .pdf .eps .ai .wmf .emf".split(), _DRAWING),
    **dict.fromkeys(".gif .apng".split(), _ANIMATION),
    **dict.fromkeys(
        ".wmv .asf .ogv .ogm .rm .rmvb .mxf .m2v .m1v .y4m .yuv .mod .tod".split(),
        _CLIP,
    ),
}
_NAMES = 3  # files named for each ending, where many are left out


def ending(path: str | os.PathLike) -> str:
    """Returns a path's ending with its dot, in lower case.

    Args:
      path: of a file that need not exist.
    """
    return Path(path).suffix.lower()


def is_picture(path: str | os.PathLike) -> bool:
    """Whether a path's ending is that of a picture that can be read and written.

    Args:
      path: of a file that need not exist.
    """
    return ending(path) in PICTURES


def is_clip(path: str | os.PathLike) -> bool:
    """Whether a path's ending is that of a video that can be read.

    Args:
      path: of a file that need not exist.
    """
    return ending(path) in CLIPS


def advice(path: str | os.PathLike) -> str | None:
    """Returns what to do with a picture or clip in a known format that is not read; else None.

    Args:
      path: of a file that need not exist.
    """
    return UNREADABLE.get(ending(path))


def unknown_ending(path: str | os.PathLike) -> str:
    """Returns a one-line message about a file without a picture's ending: why, and what to do.

    Args:
      path: the file.
    """
    if (what := advice(path)) is not None:
        return f"{path}: {ending(path)} files are not read; {what}."
    return f"{path}: unknown ending; expected one of {', '.join(PICTURES)}."


def describe_left_out(paths: Iterable[str | os.PathLike]) -> str | None:
    """Counts and names files that a command does not take, by their endings.

    Args:
      paths: the files.

    Returns:
      "left out 3 files: 2 .heic (a.heic, b.heic; convert it to JPEG or PNG first), 1 .txt (c.txt)";
      None where there are none. Of many files with one ending, three are named.
    """
    by_ending = collections.defaultdict(list)
    for path in paths:
        by_ending[ending(path)].append(Path(path).name)
    count = sum(map(len, by_ending.values()))
    if not count:
        return None
    groups = []
    for suffix, names in sorted(by_ending.items(), key=lambda item: (-len(item[1]), item[0])):
        named = ", ".join(names[:_NAMES]) + (", …" if len(names) > _NAMES else "")
        what = UNREADABLE.get(suffix)
        groups.append(
            f"{len(names)} {suffix or 'without an ending'} ({named}{f'; {what}' if what else ''})"
        )
    return f"left out {count} {'file' if count == 1 else 'files'}: {', '.join(groups)}"
