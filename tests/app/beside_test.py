"""The arguments of `benchmarks/app_and_browser.py` are checked before anything starts."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "app_and_browser.py"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--pictures", "none.png"], "--pictures none.png: no such file."),
        (["--web", "."], "--web .: has no manifest.json; expected DIR/web of export.py."),
        (["--turns", "0"], "--turns 0: expected at least 1."),
        (["--output", "none/a.json"], "--output none/a.json: its folder does not exist"),
    ],
)
def test_wrong_words_are_one_line(words, said, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    pictures = [] if "--pictures" in words else ["--pictures", "a.png"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *pictures, *words],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]
