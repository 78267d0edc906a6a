"""`restore-tf samples`: the sheet, the page, and what it refuses."""

import html.parser

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio
from tiny_training import folders
from tiny_training import toys as toys

from restore_tf.commands import cli, samples
from restore_tf.datasets.synthetic import Synthetic


def draw(*words):
    return samples.main(["restore-tf samples", *map(str, words)])


def error_of(capsys, *words):
    capsys.readouterr()
    assert draw(*words) == cli.USER_ERROR
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


class Page(html.parser.HTMLParser):
    """The pictures of a page, and its text."""

    def __init__(self, path):
        super().__init__()
        self.images, self.text = [], ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.images.append(dict(attrs)["src"])

    def handle_data(self, data):
        self.text += data


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_stored_pairs_with_their_psnr(tmp_path, capsys):
    output = tmp_path / "shown"
    words = ["--config=defocus", "--split=validation", "--count=3", f"--output={output}"]
    assert draw(*words) == 0, capsys.readouterr().err
    pairs = Synthetic("defocus", "validation")
    page = Page(output / "index.html")
    assert len(page.images) == 9  # the degraded ones twice
    for number, index in enumerate((0, 4, 8)):
        degraded, sharp = (
            pixels(output / "pictures" / f"{number:04d}_{kind}.png")
            for kind in ("degraded", "sharp")
        )
        np.testing.assert_array_equal([degraded, sharp], pairs[index])
        psnr = peak_signal_noise_ratio(sharp, degraded)
        assert f"{pairs.names[index]} {psnr:.2f} dB" in " ".join(page.text.split())
    assert all((output / address).is_file() for address in page.images)
    sheet = pixels(output / "samples.png")
    # Both pictures of the first pair stand on the sheet as they are.
    for picture in pairs[0]:
        row, column = np.argwhere((sheet == picture[0, 0]).all(axis=-1)).T
        found = [
            np.array_equal(sheet[r : r + 256, c : c + 256], picture)
            for r, c in zip(row, column, strict=True)
        ]
        assert any(found)


def test_crops_are_those_of_a_training(tmp_path, toys, capsys):
    """A one-channel network's samples are gray, and their noise is its sigma."""
    output = tmp_path / "shown"
    model = ["--model=onlyluma", "--recipe=tiny", "--dataset=synthetic", "--config=noise25"]
    words = ["--crop=96", "--count=4", f"--output={output}"]
    assert draw(*model, *words) == 0, capsys.readouterr().err
    for number in range(4):
        degraded, sharp = (
            pixels(output / "pictures" / f"{number:04d}_{kind}.png").astype(float)
            for kind in ("degraded", "sharp")
        )
        assert degraded.shape == (96, 96, 3)
        assert (degraded == degraded[..., :1]).all()
        inside = (sharp > 80) & (sharp < 176)
        if inside.mean() > 0.3:
            assert (degraded - sharp)[inside].std() == pytest.approx(25, rel=0.06)
    assert "training samples 0 to 3 of seed 0, as onlyluma by recipe tiny" in text_of(output)


def text_of(output):
    return " ".join(Page(output / "index.html").text.split())


@pytest.mark.parametrize("crop", [[], ["--crop=16"]])
def test_pairs_of_two_sizes(tmp_path, crop):
    output = tmp_path / "shown"
    assert draw("--config=bicubic2", "--count=2", *crop, f"--output={output}") == 0
    small, large = (
        pixels(output / "pictures" / f"0000_{kind}.png") for kind in ("degraded", "sharp")
    )
    assert large.shape[0] == 2 * small.shape[0] == (32 if crop else 192)
    assert "2 times as large" in text_of(output)


def test_two_folders_of_pictures(tmp_path, capsys):
    words = folders(tmp_path / "data")
    output = tmp_path / "shown"
    assert draw(*words, "--split=test", f"--output={output}") == 0, capsys.readouterr().err
    assert "12 of 12 in the split" in text_of(output)


def test_a_name_cannot_become_markup(tmp_path):
    for kind in ("input", "target"):
        for number in range(4):
            path = tmp_path / "data" / kind / f"<b>&{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (20, 20), (number, 0, 0)).save(path)
    output = tmp_path / "shown"
    words = ["--dataset=folder", f"--data_dir={tmp_path / 'data'}", "--split=test"]
    assert draw(*words, f"--output={output}") == 0
    text = (output / "index.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;&amp;0" in text
    assert "<b>&" not in text
    assert "4 equal pairs" in text


def test_only_its_own_pictures_are_replaced(tmp_path, capsys):
    output = tmp_path / "shown"
    words = ["--config=motion", "--split=test", f"--output={output}"]
    assert draw(*words, "--count=3") == 0
    (output / "notes.txt").write_text("mine")
    assert draw(*words, "--count=1") == 0
    assert {path.name for path in (output / "pictures").iterdir()} == {
        "0000_degraded.png",
        "0000_sharp.png",
    }
    assert (output / "notes.txt").read_text() == "mine"
    (output / "samples.png").write_text("mine")
    assert "samples.png" in error_of(capsys, *words)
    assert (output / "samples.png").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--output: missing"),
        (["--output={}", "--recipe=quick"], "need --model"),
        (["--output={}", "--config=rain"], "unknown config 'rain'"),
        (["--output={}", "--dataset=gopr"], "gopr: no such data set"),
        (["--output={}", "--dataset=gopro"], "needs --data_dir"),
        (["--output={}", "--crop=200"], "smaller than the training crop of 200"),
        (["--output={}", "more"], "more: unexpected argument"),
    ],
)
def test_what_cannot_be_drawn_is_said_first(tmp_path, capsys, words, message):
    output = tmp_path / "shown"
    assert message in error_of(capsys, *(word.format(output) for word in words))
    assert not output.exists()


def test_the_command_is_listed(capsys):
    assert cli.main(["restore-tf", "--help"]) == 0
    assert "samples" in capsys.readouterr().out
