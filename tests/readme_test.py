"""The commands of the documents: every flag exists, and those that can be are run on tiny data."""

import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from restore_tf.commands import cli

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/*.md"))]
PAGES += sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("*_tf/README.md"))
PAGES += ["datasets/README.md"]

# Where the commands of RUN stand.
GUIDES = [
    "README.md",
    *(f"docs/{name}.md" for name in ("training", "restoring", "exporting", "weights")),
]

# The commands that the slow test runs, and what is put in the place of their words.
TINY = "--steps=1 --validate_every=1 --validation_pictures=1 --set=batch=1 --set=crop=32".split()
NARROW = [f"--set=network.{size}" for size in ("width=4", "res_blocks=0", "scales=1")]
RUN = {
    "train.py --model srn": [*TINY, *NARROW],
    "train.py --model srn --dataset gopro": [*TINY, *NARROW, "--workdir=gopro_run"],
    "train.py --model srn --dataset folder": [*TINY, *NARROW, "--workdir=folder_run"],
    "evaluate.py --workdir RUN --dataset gopro": ["--output=scores"],
    "restore.py PICTURE_OR_FOLDER": ["--overwrite"],
    'restore.py "photos/**/*.jpg"': [],
    "restore.py a.tif": [],
    "export.py --workdir RUN --output DIR": ["--size=32x32", "--kinds=float32"],
    "restore.py photos --tflite": ["--overwrite"],
    "convert.py --model srn_lstm": ["--set=network.width=4"],
    "convert.py --model mprnet": [
        *("--set=network.n_feat=12", "--set=network.scale_unetfeats=4"),
        *("--set=network.scale_orsnetfeats=8", "--set=network.num_cab=3"),
    ],
    "restore-tf weights": [],
}


def commands(page):
    """Yields the command lines of a page's indented and fenced blocks, joined and uncommented."""
    text = (ROOT / page).read_text(encoding="utf-8")
    fenced = re.findall(r"^```(?:sh|bash|console)\n(.*?)^```", text, flags=re.M | re.S)
    indented = re.findall(r"(?:^    .*\n)+", text, flags=re.M)
    for block in [*fenced, *indented]:
        for line in block.replace("\\\n", " ").splitlines():
            line = line.strip()
            found = re.match(r"(?:\S*python3? )?(?:(\w+)\.py|restore-tf (\w+))(?: |$)", line)
            verb = found and (found[1] or found[2])
            if verb in cli.VERBS:
                rest = re.sub(r"\s#\s.*", "", line[found.end() :]).replace("…", "")
                if rest.count("'") % 2:  # the end of a command that another one quotes
                    rest = rest.replace("'", "")
                yield verb, shlex.split(rest), line


def test_the_readme_is_short():
    assert (ROOT / "README.md").stat().st_size <= 8 * 1024


def links():
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text):
            yield page, target


@pytest.mark.parametrize("page, target", sorted(set(links())))
def test_every_link_leads_somewhere(page, target):
    assert ((ROOT / page).parent / target).exists()


@pytest.mark.parametrize("page", PAGES)
def test_every_flag_exists(page):
    for verb, words, line in commands(page):
        values = importlib.import_module(f"restore_tf.commands.{verb}").define_flags()
        words = [word for word in words if not word.startswith("[")]
        try:
            values([verb, *words])
        except Exception as error:
            raise AssertionError(f"{page}: {line}: {error}") from None


def guides():
    """The commands of the README and the guides, in their order."""
    return [command for page in GUIDES for command in commands(page)]


def test_the_list_above_is_of_the_guides():
    lines = " ".join(re.sub(r"\s+", " ", line) for _, _, line in guides())
    assert [start for start in RUN if start not in lines] == []


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with whatever the README's words stand for."""
    folder = tmp_path_factory.mktemp("readme")
    random = np.random.default_rng(0)

    def picture(name):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (40, 56, 3), np.uint8)).save(path)

    for split, scenes in (("train", "ab"), ("test", "c")):
        for scene in scenes:
            for kind in ("blur", "sharp"):
                for number in range(3):
                    picture(f"DIR/GOPRO_Large/{split}/{scene}/{kind}/{number:06d}.png")
    for name in (
        "A/s/1.png",
        "A/t/1.png",
        "B/s/1.png",
        "B/t/1.png",
        "a.tif",
        "PICTURE_OR_FOLDER.png",
    ):
        picture(name)
    for name in ("photos/1.jpg", "photos/more/2.jpg"):
        picture(name)
    for source, name in (
        ("srn_lstm_small.index", "deblur.model-523000.index"),
        ("srn_lstm_small.data-00000-of-00001", "deblur.model-523000.data-00000-of-00001"),
        ("mprnet_small.pth", "model_deblurring.pth"),
    ):
        (folder / name).write_bytes((ROOT / "tests" / "parity" / source).read_bytes())
    return folder


@pytest.mark.slow
def test_the_guides_commands_run(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    done = {}
    for verb, words, line in guides():
        start = next(
            (s for s in sorted(RUN, key=len, reverse=True) if s in re.sub(r"\s+", " ", line)), None
        )
        if start is None or start in done:
            continue
        words = [word for word in words if not word.startswith("[")]
        words = [
            {
                "RUN": "runs/srn_quick",
                "PICTURE_OR_FOLDER": "PICTURE_OR_FOLDER.png",
                "DIR/tflite/srn_256x256_uint8.tflite": "DIR/tflite/srn_32x32_float32.tflite",
            }.get(word, word)
            for word in words
        ]
        main = importlib.import_module(f"restore_tf.commands.{verb}").main
        code = main([f"{verb}.py", *words, *RUN[start]])
        assert code == 0, f"{line}: {capsys.readouterr().err}"
        done[start] = line
    assert set(done) == set(RUN)


def test_the_messages_of_the_troubleshooting_page_exist():
    folders = ("restore_tf", "datasets", *(str(p.name) for p in ROOT.glob("*_tf")))
    files = (path for folder in folders for path in ROOT.glob(f"{folder}/**/*.py"))
    source = " ".join(path.read_text(encoding="utf-8") for path in files)
    source = re.sub(r'"\s*\n\s*f?"', "", source)  # literals that Python joins
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    first = [line.split("|")[1] for line in page.splitlines() if line.startswith("| ")]
    quoted = [message for cell in first for message in re.findall(r"`([^`]+)`", cell)]
    parts = [part.strip() for message in quoted for part in re.split(r"…|\b[A-Z]\b", message)]
    assert len(parts) > 20
    assert [part for part in parts if len(part) >= 6 and part not in source] == []


@pytest.mark.slow
def test_the_page_on_a_new_paper_works(tmp_path, monkeypatch, capfd):
    page = (ROOT / "docs" / "adding_a_paper.md").read_text(encoding="utf-8")
    package = tmp_path / "packages" / "vdsr_tf"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "recipes.py").write_text(re.search(r"```python\n(.*?)```", page, re.S)[1])
    announced = package.parent / "vdsr-1.dist-info"
    announced.mkdir()
    (announced / "METADATA").write_text("Metadata-Version: 2.1\nName: vdsr\nVersion: 1\n")
    (announced / "entry_points.txt").write_text(re.search(r"```toml\n(.*?)```", page, re.S)[1])
    Image.fromarray(np.full((40, 56, 3), 90, np.uint8)).save(tmp_path / "photo.jpg")
    shorter = {
        "train": [*TINY, "--set=network.depth=3"],
        "evaluate": ["--limit=1"],
    }
    path = os.pathsep.join([str(package.parent), str(ROOT)])
    done = []
    for verb, words, _ in commands("docs/adding_a_paper.md"):
        if verb == "export":  # conformance exports every network
            continue
        command = [sys.executable, str(ROOT / f"{verb}.py"), *words, *shorter.get(verb, [])]
        environment = {**os.environ, "PYTHONPATH": path}
        result = subprocess.run(command, cwd=tmp_path, env=environment)
        assert result.returncode == 0, f"{verb}: {capfd.readouterr().err}"
        done.append(verb)
    assert done == ["train", "evaluate", "restore"]
    assert (tmp_path / "sharp.jpg").exists()
