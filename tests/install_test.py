"""The package as others install it: sdist, wheel, and an environment that holds nothing else of it.

The environment borrows the dependencies of the one that runs the tests, so that nothing is
downloaded. `.ci/run` installs them afresh.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image
from scipy import ndimage

ROOT = Path(__file__).parents[1]
MEGABYTE = 10**6


def version():
    """The version that setup.py states."""
    return re.search(r'^    version="([^"]+)"', (ROOT / "setup.py").read_text(), re.M)[1]


def test_one_version():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.+)$", citation, re.M)[1] == version()
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\S+)", changes, re.M)[:2] == ["Unreleased", version()]
    packages = ROOT / "restore_tf" / "app" / "templates" / "deployment" / "requirements.txt"
    assert f"restore_tf-{version()}-" in packages.read_text(encoding="utf-8")


def wheel_of(source, folder):
    words = "pip wheel -q --no-deps --no-build-isolation -w".split()
    subprocess.run([sys.executable, "-m", *words, str(folder), str(source)], check=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(sdist, wheel of the checkout, wheel of the sdist)."""
    folder = tmp_path_factory.mktemp("built")
    source = folder / "source"
    beside = shutil.ignore_patterns(".*", "runs", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, source, ignore=beside)
    code = f"from setuptools import build_meta; build_meta.build_sdist({str(folder)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=source, check=True, capture_output=True)
    sdist = next(folder.glob("*.tar.gz"))
    return sdist, wheel_of(source, folder / "direct"), wheel_of(sdist, folder / "from_sdist")


@pytest.mark.slow
def test_sdist_and_wheel_hold_the_same(built):
    sdist, direct, from_sdist = built
    names = [set(zipfile.ZipFile(path).namelist()) for path in (direct, from_sdist)]
    assert names[0] == names[1]
    top = f"restore_tf-{version()}"
    with tarfile.open(sdist) as archive:
        files = {name.removeprefix(f"{top}/") for name in archive.getnames()}
    expected = {"README.md", "CHANGELOG.md", "CITATION.cff", "LICENSE", "NOTICE", "setup.py"}
    assert expected <= files
    # Tests, documents and scripts are the repository's.
    assert not {name.split("/")[0] for name in files} & {"tests", "docs", "benchmarks", "runs"}
    licences = {f"{top}.dist-info/licenses/{name}" for name in ("LICENSE", "NOTICE")}
    assert licences | {"restore_tf/py.typed"} <= names[0]
    assert max(path.stat().st_size for path in built) < 16 * MEGABYTE


@pytest.fixture(scope="module")
def environment(built, tmp_path_factory):
    """The programs of an environment with the sdist's wheel."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    words = ["--python", str(folder / "bin" / "python"), "install", "-q", "--no-deps"]
    subprocess.run([sys.executable, "-m", "pip", *words, str(built[2])], check=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    borrowed = {sysconfig.get_paths()[kind] for kind in ("purelib", "platlib")}
    (packages / "borrowed.pth").write_text("\n".join(borrowed))
    return folder / "bin"


def run(environment, folder, *words):
    """Runs the installed program outside the checkout; returns what it prints."""
    known = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "RESTORE_TF_HOME")}
    done = subprocess.run(
        [environment / "restore-tf", *words], cwd=folder, env=known, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_installed_program_restores_a_photo(environment, tmp_path):
    sharp = skimage.data.coffee()[100:228, 200:328]
    blurred = ndimage.convolve(sharp.astype(float), np.ones((1, 9, 1)) / 9, mode="nearest")
    Image.fromarray(np.rint(blurred).astype(np.uint8)).save(tmp_path / "photo.jpg", quality=98)
    run(environment, tmp_path, "restore", "photo.jpg", "--output", "sharp.jpg")

    def psnr(name):
        with Image.open(tmp_path / name) as picture:
            error = np.asarray(picture, float) - sharp
        return 10 * np.log10(255**2 / np.mean(error**2))

    assert psnr("sharp.jpg") > psnr("photo.jpg") + 3


@pytest.mark.slow
def test_the_installed_program_knows_itself(environment, tmp_path):
    assert run(environment, tmp_path, "--version") == f"restore-tf {version()}\n"
    said = run(environment, tmp_path, "doctor")
    assert f"restore_tf {version()}" in said
    shipped = environment.parent / "lib"
    assert re.search(rf"maxim_deblurring_stage1 +here: {shipped}", said)
