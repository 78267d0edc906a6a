"""The commands of the documents: every flag exists, and those that can be are run on tiny data."""

import importlib
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from restore_tf.commands import cli

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/*.md"))]
PAGES += sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("*_tf/README.md"))
PAGES += ["datasets/README.md"]

# The README's commands that the slow test runs, and what is put in the place of their words.
TINY = "--steps=1 --validate_every=1 --validation_pictures=1 --set=batch=1 --set=crop=32".split()
NARROW = ["--set=network.width=4", "--set=network.res_blocks=0"]
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


@pytest.mark.parametrize("page", PAGES)
def test_every_flag_exists(page):
    for verb, words, line in commands(page):
        values = importlib.import_module(f"restore_tf.commands.{verb}").define_flags()
        words = [word for word in words if not word.startswith("[")]
        try:
            values([verb, *words])
        except Exception as error:
            raise AssertionError(f"{page}: {line}: {error}") from None


def test_the_list_above_is_of_the_readme():
    lines = " ".join(re.sub(r"\s+", " ", line) for _, _, line in commands("README.md"))
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
def test_the_readmes_commands_run(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    done = {}
    for verb, words, line in commands("README.md"):
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
