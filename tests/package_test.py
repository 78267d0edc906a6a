"""The package as others meet it: its imports, its wheel, its scripts."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def python(code, cwd=ROOT):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd, check=True
    ).stdout


def imported(module):
    return set(python(f"import sys, {module}; print('\\n'.join(sys.modules))").split())


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("restore_tf", {"tensorflow", "keras", "tensorflow_datasets"}),
        ("restore_tf.evaluation.metrics", {"tensorflow", "keras"}),
        ("restore_tf.datasets.synthetic", {"tensorflow", "keras", "tensorflow_datasets"}),
        ("restore_tf.datasets.gopro.layout", {"tensorflow", "tensorflow_datasets"}),
        ("restore_tf.commands.train", {"tensorflow", "keras"}),
        ("restore_tf.datasets.sources", {"tensorflow", "keras", "tensorflow_datasets"}),
        (
            "srn_tf.model, mprnet_tf.model, maxim_tf.model, deblurgan_tf.model, "
            "baselines_tf.dncnn, baselines_tf.edsr, diffusion_tf.model",
            {"tensorflow_datasets"},
        ),
    ],
)
def test_imports_stay_light(module, absent):
    assert not imported(module) & absent


def test_importing_the_packages_touches_modules_only():
    """No file but Python modules is opened, nothing is written, no process or socket is made."""
    code = """
import sys
seen = []
def hook(event, arguments):
    if event.split(".")[0] in ("socket", "subprocess", "os", "shutil", "open"):
        seen.append((event, str(arguments[0]) if arguments else "", arguments[1:]))
sys.addaudithook(hook)
import srn_tf, mprnet_tf, maxim_tf, baselines_tf, deblurgan_tf, diffusion_tf, restore_tf
for event, path, rest in seen:
    harmless = event in ("os.listdir", "os.scandir") or path.endswith((".py", ".pyc", ".so"))
    if not harmless or (event == "open" and rest[0] not in (None, "r", "rb")):
        print(event, path, rest)
"""
    assert python(code) == ""


def test_papers_import_nothing_above_them():
    for paper in ("srn_tf", "mprnet_tf", "maxim_tf", "deblurgan_tf"):
        source = (ROOT / paper / "model.py").read_text()
        lines = [line for line in source.splitlines() if line.startswith(("import", "from"))]
        allowed = (*sys.stdlib_module_names, "keras", "restore_tf.networks", paper)
        names = [line.split()[1] for line in lines]
        assert [n for n in names if not any(f"{n}.".startswith(f"{a}.") for a in allowed)] == []


def test_papers_networks_by_name():
    code = """
from srn_tf import SRN
from mprnet_tf import MPRNet
from maxim_tf import MAXIM
from baselines_tf import EDSR, SRCNN, DnCNN, Plain, UNet
print(*(one.__name__ for one in (SRN, MPRNet, MAXIM, SRCNN, DnCNN, UNet, EDSR, Plain)))
"""
    assert python(code) == "SRN MPRNet MAXIM SRCNN DnCNN UNet EDSR Plain\n"


def test_public_api():
    code = (
        "import restore_tf as r; print(callable(r.load_model), callable(r.restore), r.metrics.psnr)"
    )
    assert python(code).startswith("True True <function psnr")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "source"
    # A clean copy: setuptools would otherwise leave build/ in the checkout and read it next time.
    beside = shutil.ignore_patterns(".*", "runs", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, copy, ignore=beside)
    words = [
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(folder),
        str(copy),
    ]
    subprocess.run([sys.executable, "-m", *words], check=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_owns_only_our_names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "restore_tf",
        "srn_tf",
        "mprnet_tf",
        "maxim_tf",
        "baselines_tf",
        "deblurgan_tf",
        "diffusion_tf",
    }
    assert "restore_tf/datasets/__init__.py" not in names  # the checkout's bridge
    assert "restore_tf/datasets/gopro/layout.py" in names
    assert "restore_tf/datasets/gopro/CITATIONS.bib" in names
    assert {"srn_tf/published.json", "maxim_tf/published.json"} <= set(names)
    assert "restore_tf/evaluation/page/templates/report.html" in names
    page = {"index.html", "page.js", "tiles.js", "worker.js", "_headers"}
    assert {f"restore_tf/export/web/page/{name}" for name in page} <= set(names)
    assert not [name for name in names if name.endswith(".wasm")]  # LiteRT.js is not shipped
    of_the_app = {"static/page.js", "templates/viewer.html", "templates/deployment/Dockerfile"}
    assert {f"restore_tf/app/{name}" for name in of_the_app} <= set(names)
    shipped = {"LICENSE", "MODEL_CARD.md", "NOTICE", "best.weights.npz", "experiment.json"}
    assert {f"maxim_tf/weights/maxim_deblurring_stage1/{name}" for name in shipped} <= set(names)
    shipped = shipped - {"best.weights.npz"} | {"best.weights.h5"}
    assert {f"baselines_tf/weights/dncnn_gray_25/{name}" for name in shipped} <= set(names)
    assert not [name for name in names if "dummy_data" in name]


def test_the_wheel_works(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = (
        "import restore_tf.datasets.synthetic as s, restore_tf.datasets.gopro.layout, srn_tf.model;"
        "print(s.__file__)"
    )
    assert python(code, cwd=tmp_path).strip().startswith(str(tmp_path))


def test_the_package_runs_as_a_module():
    words = [sys.executable, "-m", "restore_tf", "--help"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout[:17]) == (0, "usage: restore-tf"), done.stderr


@pytest.mark.parametrize("script", ["train.py", "evaluate.py", "restore.py", "convert.py"])
def test_scripts_explain_themselves(script):
    done = subprocess.run(
        [sys.executable, script, "--help"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0
    assert f"python {script}" in done.stdout


def test_finding_a_paper_says_nothing_of_the_processor():
    """TensorFlow does, unless it is imported quietly."""
    code = "from restore_tf.experiments import experiment; experiment.load_recipe('srn', 'quick')"
    known = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=known)
    assert (done.returncode, done.stderr) == (0, "")
