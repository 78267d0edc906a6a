"""Pairing by name, held-out sequences, any two folders, and prepared records of every set."""

import importlib
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from restore_tf.datasets import folder, pairing, records, sources
from restore_tf.errors import UserError


def picture(path: Path, size=(8, 6), **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (10, 200, 90)).save(path, **options)
    return path


def two_folders(root: Path, *names: str, size=(8, 6)) -> tuple[Path, Path]:
    for name in names:
        picture(root / "input" / name, size)
        picture(root / "target" / name, size)
    return root / "input", root / "target"


def pair(name: str) -> pairing.Pair:
    return pairing.Pair(name, Path("degraded") / name, Path("sharp") / name)


def names(pairs) -> list[str]:
    return [pair.name for pair in pairs]


def test_pairs_are_found_at_any_depth_by_name_without_extension(tmp_path):
    degraded, sharp = two_folders(tmp_path, "b/2.png", "a/10.png", "a/9.png")
    picture(degraded / "c.jpg")
    picture(sharp / "c.PNG")
    (degraded / "notes.txt").write_text("not a picture")
    picture(degraded / ".thumbnails" / "a.png")
    pairs = folder.find_pairs(degraded_dir=degraded, sharp_dir=str(sharp))
    assert names(pairs) == ["a/10", "a/9", "b/2", "c"]
    assert pairs[3].degraded == degraded / "c.jpg"
    assert pairs[3].sharp == sharp / "c.PNG"
    assert folder.find_pairs(tmp_path) == pairs


def test_data_dir_may_hold_blur_and_sharp(tmp_path):
    picture(tmp_path / "blur" / "00000000.png")
    picture(tmp_path / "sharp" / "00000000.png")
    assert names(folder.find_pairs(tmp_path)) == ["00000000"]


@pytest.mark.parametrize("side", ["input", "target"])
def test_missing_partner_is_named(tmp_path, side):
    two_folders(tmp_path, "a/1.png", "a/2.png")
    (tmp_path / side / "a" / "2.png").unlink()
    lacking = {"input": "degraded", "target": "sharp"}[side]
    with pytest.raises(UserError, match=rf"a/2\.png: no {lacking} picture of the same name"):
        folder.find_pairs(tmp_path)


def test_two_pictures_of_one_name_are_an_error(tmp_path):
    two_folders(tmp_path, "1.png")
    picture(tmp_path / "target" / "1.jpg")
    with pytest.raises(UserError, match=r"1\.png: 1\.jpg has the same name"):
        folder.find_pairs(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "degraded_dir is not given"),
        ({"degraded_dir": "input"}, "sharp_dir is not given"),
        ({"sharp_dir": "target"}, "degraded_dir is not given"),
        ({"data_dir": ".", "sharp_dir": "target"}, "not both forms"),
        ({"data_dir": "input"}, "expected input/ and target/ or blur/ and sharp/ inside"),
        ({"data_dir": "absent"}, "absent: no such folder; expected a folder with input/"),
        ({"degraded_dir": "input", "sharp_dir": "absent"}, "absent: no such folder"),
        ({"degraded_dir": "input", "sharp_dir": "input/../input"}, "both degraded_dir and sharp"),
        ({"degraded_dir": "empty", "sharp_dir": "void"}, "hold no pictures"),
    ],
)
def test_wrong_folders_say_what_to_give(tmp_path, monkeypatch, arguments, message):
    two_folders(tmp_path, "1.png")
    for name in ("empty", "void"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        folder.find_pairs(**arguments)


def test_check_returns_sizes(tmp_path):
    two_folders(tmp_path, "1.png", "2.jpg", "3.bmp", size=(8, 6))
    assert pairing.check(folder.find_pairs(tmp_path)) == [(6, 8)] * 3


def test_different_sizes_are_named(tmp_path):
    _, sharp = two_folders(tmp_path, "1.png", "2.png")
    picture(sharp / "2.png", (8, 7))
    with pytest.raises(UserError, match=r"input/2\.png: is 8x6 pixels .*target/2\.png is 8x7"):
        pairing.check(folder.find_pairs(tmp_path))


def test_sharp_pictures_may_have_to_be_larger(tmp_path):
    picture(tmp_path / "input" / "1.png", (8, 6))
    picture(tmp_path / "target" / "1.png", (24, 18))
    pairs = folder.find_pairs(tmp_path)
    assert pairing.check(pairs, 3) == [(6, 8)]
    with pytest.raises(UserError, match=r"1\.png: is 8x6 .*1\.png is 24x18; expected 16x12"):
        pairing.check(pairs, 2)
    with pytest.raises(
        UserError, match="of a pair have one size, .* 2 times as large; use .*folder"
    ):
        sources.open_source("gopro", None, "train", data_dir=tmp_path, output_scale=2)


def quarter_turn():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    return exif


def test_sizes_are_compared_upright(tmp_path):
    """A camera's turned JPEG beside its upright partner: right, or 48x64 stored as 64x48."""
    picture(tmp_path / "input" / "1.jpg", (8, 6), exif=quarter_turn())
    picture(tmp_path / "target" / "1.png", (6, 8))
    source = sources.FileSource(folder.find_pairs(tmp_path))
    assert source.sizes == [(8, 6)]
    assert [pixels.shape for pixels in source.read(0)] == [(8, 6, 3)] * 2
    assert sources.cached(source).sizes == [(8, 6)]
    picture(tmp_path / "target" / "1.png", (8, 6))
    with pytest.raises(UserError, match=r"1\.jpg: is 6x8 pixels upright, but .*1\.png is 8x6"):
        sources.open_source("folder", None, "test", data_dir=tmp_path)


def test_pairs_in_memory_must_fit_too():
    pair = np.zeros((8, 6, 3), np.uint8), np.zeros((6, 8, 3), np.uint8)
    with pytest.raises(UserError, match="b: is 6x8 pixels upright, but its sharp picture is 8x6"):
        sources.MemorySource(["b"], [pair])


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_pictures_of_16_bits_are_counted(tmp_path, caplog, ending):
    two_folders(tmp_path, f"1.{ending}", f"2.{ending}")
    assert pairing.check(folder.find_pairs(tmp_path)) == [(6, 8)] * 2
    assert not caplog.records
    Image.fromarray(np.full((6, 8), 40000, np.uint16)).save(tmp_path / "input" / f"2.{ending}")
    source = sources.open_source("folder", None, "test", data_dir=tmp_path)
    assert f"1 pictures have 16 bits a channel, such as {tmp_path / 'input'}/2" in caplog.text
    assert np.unique(source.read(1)[0]) == 156  # 40000 / 257 = 155.6


def test_every_kind_of_picture_is_taken_and_the_rest_is_said(tmp_path, caplog):
    kinds = ("a.png", "b.webp", "c.tif", "d.TIFF", "e.jfif", "f.jpe", "g.bmp")
    two_folders(tmp_path, *kinds)
    for name in ("h.heic", "notes.txt", ".hidden"):
        (tmp_path / "input" / name).write_text("not a picture")
    source = sources.open_source("folder", None, "test", data_dir=tmp_path)
    assert source.names == list("abcdefg")
    for index in range(len(source)):
        for pixels in source.read(index):
            np.testing.assert_allclose(pixels, np.full((6, 8, 3), (10, 200, 90)), atol=3)
    assert "input: left out 2 files: 1 .heic (h.heic; convert it to JPEG" in caplog.text
    assert "1 .txt (notes.txt)" in caplog.text
    assert len(caplog.records) == 1


def test_links_to_folders_are_followed_once(tmp_path, caplog):
    elsewhere, _ = two_folders(tmp_path / "disk", "1.png", "2.png")
    for side in ("input", "target"):
        (tmp_path / side).mkdir()
        (tmp_path / side / "scene").symlink_to(tmp_path / "disk" / side)
        picture(tmp_path / side / "own" / "3.png")
    assert names(folder.find_pairs(tmp_path)) == ["own/3", "scene/1", "scene/2"]
    (elsewhere / "back").symlink_to(tmp_path / "input")
    (tmp_path / "input" / "dead.png").symlink_to(tmp_path / "nothing.png")
    assert names(folder.find_pairs(tmp_path)) == ["own/3", "scene/1", "scene/2"]
    assert "dead.png: is a broken link" in caplog.text


@pytest.mark.parametrize(("name", "kind"), [("1.png", "PNG"), ("1.jpg", "JPEG")])
@pytest.mark.parametrize("lost", [1, 30])
def test_truncated_picture_is_named(tmp_path, name, kind, lost):
    _, sharp = two_folders(tmp_path, name, size=(64, 48))
    whole = (sharp / name).read_bytes()
    (sharp / name).write_bytes(whole[:-lost])
    with pytest.raises(UserError, match=rf"target/{name}: truncated {kind} file"):
        pairing.check(folder.find_pairs(tmp_path))


@pytest.mark.parametrize("content", [b"", b"no picture at all", b"\x89PNG\r\n\x1a\n\0\0"])
def test_unreadable_file_is_named(tmp_path, content):
    degraded, _ = two_folders(tmp_path, "1.png")
    (degraded / "1.png").write_bytes(content)
    with pytest.raises(UserError, match=r"input/1\.png: cannot be read as a picture"):
        pairing.check(folder.find_pairs(tmp_path))


def test_vanished_file_is_named(tmp_path):
    degraded, _ = two_folders(tmp_path, "1.png")
    pairs = folder.find_pairs(tmp_path)
    (degraded / "1.png").unlink()
    with pytest.raises(UserError, match=r"input/1\.png: no such file"):
        pairing.check(pairs)


def test_hold_out_takes_the_last_whole_sequences():
    pairs = [pair(f"{sequence:02d}/{frame}") for sequence in range(22) for frame in range(3)]
    training, validation = pairing.hold_out(pairs[::-1], lambda p: p.name.split("/")[0])
    assert names(validation) == ["20/0", "20/1", "20/2", "21/0", "21/1", "21/2"]
    assert names(training) == names(pairs[:60])


def test_hold_out_takes_at_least_one_sequence():
    pairs = [pair("a/1"), pair("a/2"), pair("b/1")]
    training, validation = pairing.hold_out(pairs, lambda p: p.name.split("/")[0])
    assert (names(training), names(validation)) == (["a/1", "a/2"], ["b/1"])


def test_hold_out_of_one_sequence_leaves_a_gap_and_warns(caplog):
    pairs = [pair(f"a/{frame:02d}") for frame in range(20)]
    training, validation = pairing.hold_out(pairs, lambda p: "a", gap=3)
    assert "only one training sequence: its last 2 frames" in caplog.text
    assert names(training) == [f"a/{frame:02d}" for frame in range(15)]
    assert names(validation) == ["a/18", "a/19"]


def test_hold_out_of_a_single_frame_is_said_in_the_singular(caplog):
    pairing.hold_out([pair(f"a/{frame}") for frame in range(5)], lambda p: "a")
    assert "its last frame is the validation split, and the 2 before it are" in caplog.text


@pytest.mark.parametrize("count", [0, 3])
def test_hold_out_of_too_few_pairs_is_an_error(count):
    pairs = [pair(f"a/{frame}") for frame in range(count)]
    with pytest.raises(UserError, match=f"training pairs: {count}; at least"):
        pairing.hold_out(pairs, lambda p: "a")


@pytest.mark.parametrize("name", records.NAMES)
def test_records_hand_out_the_published_files(tmp_path, name):
    layout = importlib.import_module(f"restore_tf.datasets.{name}.layout")
    published = Path(layout.__file__).parent / "dummy_data"
    for config in layout.CONFIGS:
        assert not records.is_prepared(tmp_path, name, config)
        records.prepare(name, config, published, tmp_path)
        assert records.is_prepared(tmp_path, name, config)
        for split in layout.SPLITS:
            pairs = layout.find_pairs(published, config, split)
            prepared = records.Records(tmp_path, name, config, split)
            assert prepared.names == names(pairs)
            assert [prepared.encoded(index) for index in range(len(prepared))] == [
                (pair.degraded.read_bytes(), pair.sharp.read_bytes()) for pair in pairs
            ]


@pytest.fixture
def prepared(tmp_path):
    from restore_tf.datasets.hide import layout

    published = Path(layout.__file__).parent / "dummy_data"
    return records.prepare("hide", "blur", published, tmp_path)


def test_missing_records_name_the_command_that_prepares_them(tmp_path):
    command = "python -m restore_tf.datasets.records gopro crops --manual_dir PUBLISHED_FOLDER"
    with pytest.raises(UserError, match=f"gopro/crops: holds no prepared records; .*{command}"):
        records.Records(tmp_path, "gopro", "crops", "train")


def test_half_written_records_do_not_count(tmp_path, prepared):
    prepared.rename(prepared.with_name("incomplete.ABC123_1.0.0"))
    assert not records.is_prepared(tmp_path, "hide", "blur")


def test_unknown_split_and_index(tmp_path, prepared):
    with pytest.raises(UserError, match="no split 'train'; use one of: test"):
        records.Records(tmp_path, "hide", "blur", "train")
    opened = records.Records(tmp_path, "hide", "blur", "test")
    for index in (-1, 3):
        with pytest.raises(IndexError):
            opened.encoded(index)


def test_names_without_metadata_are_made_of_split_and_index(tmp_path, prepared):
    for damaged in ("{", "[]", '{"names": 3}', "[" * 10**5):
        (prepared / "metadata.json").write_text(damaged)
        with pytest.raises(UserError, match="metadata.json: cannot be read"):
            _ = records.Records(tmp_path, "hide", "blur", "test").names
    (prepared / "metadata.json").unlink()
    opened = records.Records(tmp_path, "hide", "blur", "test")
    assert opened.names == ["test/00000000", "test/00000001", "test/00000002"]


def test_damaged_or_missing_shard_is_an_error(tmp_path, prepared):
    shard = next(prepared.glob("*.array_record-*"))
    whole = shard.read_bytes()
    place = 150  # inside the first record, which starts after a header of 104 bytes
    shard.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
    with pytest.raises(UserError, match="damaged records .* delete the folder and run: python"):
        records.Records(tmp_path, "hide", "blur", "test").encoded(0)
    shard.unlink()
    with pytest.raises(UserError, match="no such file; delete the folder and run: python"):
        records.Records(tmp_path, "hide", "blur", "test")


def published(name):
    layout = importlib.import_module(f"restore_tf.datasets.{name}.layout")
    return Path(layout.__file__).parent / "dummy_data"


@pytest.fixture
def raw(tmp_path):
    return records.prepare("hide", "blur", published("hide"), tmp_path, "raw")


@pytest.mark.parametrize("config", ["blur", "crops"])
def test_raw_records_hold_the_same_pixels(tmp_path, config):
    for encoding in records.ENCODINGS:
        records.prepare("gopro", config, published("gopro"), tmp_path / encoding, encoding)
        assert records.is_prepared(tmp_path / encoding, "gopro", config)
    for split in ("train", "validation", "test"):
        png, raw = (
            records.open_records(tmp_path / encoding, "gopro", config, split)
            for encoding in records.ENCODINGS
        )
        assert png.names == raw.names
        assert raw.sizes == [(48, 64)] * len(png)
        for index in range(len(png)):
            whole = np.stack([Image.open(io.BytesIO(data)) for data in png.encoded(index)])
            for opened in (png, raw):
                np.testing.assert_array_equal(np.stack(opened.read(index)), whole)
                for top, left in ((0, 0), (32, 48), (7, 9)):
                    expected = whole[:, top : top + 16, left : left + 16]
                    found = opened.read_crop(index, lambda _, at=(top, left): at, 16)
                    np.testing.assert_array_equal(np.stack(found), expected)


@pytest.mark.parametrize("name", records.NAMES)
def test_raw_records_of_every_set(tmp_path, name):
    layout = importlib.import_module(f"restore_tf.datasets.{name}.layout")
    for config in layout.CONFIGS:
        records.prepare(name, config, published(name), tmp_path, "raw")
        for split in layout.SPLITS:
            pairs = layout.find_pairs(published(name), config, split)
            opened = records.open_records(tmp_path, name, config, split)
            assert opened.names == names(pairs)
            for index, pair in enumerate(pairs):
                for pixels, path in zip(opened.read(index), pair[1:], strict=True):
                    np.testing.assert_array_equal(pixels, Image.open(path).convert("RGB"))


def test_files_and_both_encodings_give_the_same_batches(tmp_path):
    from restore_tf.datasets import pairs

    folders = [published("gopro"), tmp_path / "png", tmp_path / "raw"]
    for data_dir in folders[1:]:
        records.prepare("gopro", "blur", published("gopro"), data_dir, data_dir.name)
    found = []
    for data_dir in folders:
        source = sources.open_source("gopro", "blur", "train", data_dir=data_dir)
        batches = pairs.training_batches(
            source, crop=16, batch=2, steps=4, seed=1, augment=("flip_rotate",)
        )
        found.append(np.array([batch[:2] for batch in batches.as_numpy_iterator()]))
    assert found[0].shape == (4, 2, 2, 16, 16, 3)
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], found[0])


def test_raw_records_that_are_there_stay(tmp_path, raw):
    before = [path.stat().st_mtime_ns for path in raw.iterdir()]
    assert records.prepare("hide", "blur", published("hide"), tmp_path, "raw") == raw
    assert before == [path.stat().st_mtime_ns for path in raw.iterdir()]


def test_an_interrupted_preparation_leaves_no_raw_records(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("restore_tf.datasets.cropping.decode", stop)
    with pytest.raises(KeyboardInterrupt):
        records.prepare("hide", "blur", published("hide"), tmp_path, "raw")
    assert not records.is_prepared(tmp_path, "hide", "blur")
    assert list((tmp_path / "hide" / "blur").iterdir()) == []


def test_a_disk_too_small_for_raw_records_is_an_error(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(UserError, match="0.0 GB free, but these records take 0.0 GB; pass another"):
        records.prepare("hide", "blur", published("hide"), tmp_path, "raw")


def test_damaged_raw_records_are_named_in_one_line(tmp_path, raw):
    place = raw / "test.raw"
    whole = place.read_bytes()
    size = len(whole) // 3
    place.write_bytes(whole[: size + 5] + bytes([whole[size + 5] ^ 1]) + whole[size + 6 :])
    opened = records.open_records(tmp_path, "hide", "blur", "test")
    opened.read(0)
    with pytest.raises(
        UserError, match=r"\(test pair 1, .*: wrong checksum\); delete .* raw$"
    ) as e:
        opened.read(1)
    assert "\n" not in str(e.value)
    place.write_bytes(whole[:-1])
    with pytest.raises(UserError, match=r"test\.raw: has \d+ bytes, not \d+; delete .* and run:"):
        records.open_records(tmp_path, "hide", "blur", "test")
    place.unlink()
    with pytest.raises(UserError, match=r"test\.raw: no such file; delete"):
        records.open_records(tmp_path, "hide", "blur", "test")
    (raw / "index.json").write_text("{")
    with pytest.raises(
        UserError, match=r"index\.json: cannot be read .*; delete .* --encoding raw"
    ):
        records.open_records(tmp_path, "hide", "blur", "test")


def test_unknown_split_index_and_encoding_of_raw_records(tmp_path, raw):
    with pytest.raises(UserError, match="no split 'train'; use one of: test"):
        records.open_records(tmp_path, "hide", "blur", "train")
    for index in (-1, 3):
        with pytest.raises(IndexError):
            records.open_records(tmp_path, "hide", "blur", "test").read(index)
    with pytest.raises(UserError, match="no encoding 'jpeg'; use one of: png, raw"):
        records.prepare("hide", "blur", published("hide"), tmp_path, "jpeg")


def test_keys_grow_and_fill_all_of_the_buckets_tfds_sorts_in():
    shuffle = importlib.import_module("tensorflow_datasets.core.shuffle")
    keyed = importlib.import_module("restore_tf.datasets.pair_builder").keyed
    keys = [key for key, _ in keyed([{}] * 2500, 2500)]
    assert keys == sorted(set(keys))
    buckets = [shuffle.get_bucket_number(key, shuffle.BUCKETS_NUMBER) for key in keys]
    assert max(buckets.count(bucket) for bucket in set(buckets)) == 3


def test_other_file_formats_are_refused(tmp_path):
    from restore_tf.datasets.hide import hide_dataset_builder, layout

    tfds = pytest.importorskip("tensorflow_datasets")
    builder = hide_dataset_builder.Builder(config="blur", data_dir=tmp_path, file_format="tfrecord")
    published = Path(layout.__file__).parent / "dummy_data"
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=published))
    with pytest.raises(UserError, match="is in the format tfrecord, but .* needs array_record"):
        records.Records(tmp_path, "hide", "blur", "test")


def test_prepare_from_the_command_line(tmp_path, capsys):
    from restore_tf.datasets.gopro import layout

    published = Path(layout.__file__).parent / "dummy_data"
    folders = ["--manual_dir", str(published), "--data_dir", str(tmp_path / "records")]
    assert records.main(["gopro", "blur", *folders]) == 0
    assert len(records.Records(tmp_path / "records", "gopro", "blur", "train")) == 3
    assert records.main(["gopro", "crops", *folders, "--encoding", "raw"]) == 0
    assert (tmp_path / "records" / "gopro" / "crops" / "raw" / "train.raw").is_file()
    for wrong, message in (
        (["cifar", "blur", *folders], "no data set 'cifar'"),
        (["gopro", "gamma", *folders], "gopro has no config 'gamma'; use one of: blur, blur_gamma"),
        (["gopro", "blur", "--manual_dir", "absent", *folders[2:]], "absent: no such folder"),
    ):
        assert records.main(wrong) == 2
        assert message in capsys.readouterr().err
