"""GoPro: layout and its errors, builder on dummy_data, and the crops of a full-size frame."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from restore_tf.datasets import records
from restore_tf.datasets.gopro import gopro_dataset_builder, layout
from restore_tf.errors import UserError

DUMMY = Path(__file__).parent / "dummy_data"


class GoproTest(tfds.testing.DatasetBuilderTestCase):
    """Prepares every config from dummy_data; its 64x48 frames make one crop each."""

    DATASET_CLASS = gopro_dataset_builder.Builder
    EXAMPLE_DIR = DUMMY
    SPLITS = {"train": 3, "validation": 1, "test": 1}

    def _make_builder(self, config=None):
        # The test case reads with as_dataset, which TFDS lacks for ArrayRecord.
        return self.DATASET_CLASS(data_dir=self.tmp_dir, config=config, file_format="tfrecord")


@pytest.fixture
def copy(tmp_path):
    return Path(shutil.copytree(DUMMY, tmp_path / "GOPRO_Large"))


def names(split, config="blur"):
    return [pair.name for pair in layout.find_pairs(DUMMY, config, split)]


def test_validation_is_a_whole_training_sequence():
    assert names("train") == [
        "GOPR0372_07_00/000047",
        "GOPR0372_07_00/000050",
        "GOPR0374_11_00/000001",
    ]
    assert names("validation") == ["GOPR0884_11_00/000001"]
    assert names("test") == ["GOPR0396_11_00/000001"]


def test_config_picks_the_blurred_folder():
    pair = layout.find_pairs(DUMMY, "blur_gamma", "test")[0]
    sequence = DUMMY / "test" / "GOPR0396_11_00"
    assert pair.degraded == sequence / "blur_gamma" / "000001.png"
    assert pair.sharp == sequence / "sharp" / "000001.png"


@pytest.mark.parametrize(
    ("config", "split", "message"),
    [
        ("gamma", "train", "blur, blur_gamma, crops"),
        ("blur", "val", "train, validation, test"),
        ("crops", "train", "records gopro crops --manual_dir"),
    ],
)
def test_unknown_config_or_split_lists_the_valid_ones(config, split, message):
    with pytest.raises(UserError, match=message):
        layout.find_pairs(DUMMY, config, split)


def test_missing_folder_says_what_was_expected(copy):
    with pytest.raises(UserError, match=r"GOPRO_Large/train/train: no such folder; .*GOPRxxxx"):
        layout.find_pairs(copy / "train", "blur", "train")
    shutil.rmtree(copy / "train" / "GOPR0372_07_00" / "blur_gamma")
    with pytest.raises(UserError, match="GOPR0372_07_00/blur_gamma: no such folder"):
        layout.find_pairs(copy, "blur_gamma", "train")


def test_missing_partner_is_named(copy):
    (copy / "train" / "GOPR0372_07_00" / "sharp" / "000050.png").unlink()
    with pytest.raises(UserError, match=r"blur/000050\.png: no sharp picture"):
        layout.find_pairs(copy, "blur", "train")


def test_empty_folder_is_an_error(tmp_path):
    (tmp_path / "test").mkdir()
    with pytest.raises(UserError, match="holds no pictures"):
        layout.find_pairs(tmp_path, "blur", "test")


def test_crop_grid():
    boxes = layout.crop_boxes(720, 1280)  # rows and columns as protocols give them
    expected = [(top, left, 512, 512) for top in (0, 208) for left in (0, 256, 512, 768)]
    assert boxes == expected
    assert layout.crop_boxes(48, 64) == [(0, 0, 48, 64)]
    assert layout.crop_boxes(512, 600) == [(0, 0, 512, 512), (0, 88, 512, 512)]


def test_crops_equal_the_frame_and_the_test_split_stays_whole(tmp_path):
    random = np.random.default_rng(0)
    blocks = random.integers(0, 256, (9, 16, 3), np.uint8)
    frame = np.kron(blocks, np.ones((80, 80, 1), np.uint8))  # 1280x720, no two crops alike
    for part, sequences in (("train", "ab"), ("test", "c")):
        for sequence in sequences:
            for kind, pixels in (("blur", frame), ("sharp", 255 - frame)):
                folder = tmp_path / "published" / part / sequence / kind
                folder.mkdir(parents=True)
                Image.fromarray(pixels).save(folder / "000001.png")
    data_dir = tmp_path / "records"
    records.prepare("gopro", "crops", tmp_path / "published", data_dir)

    train = records.Records(data_dir, "gopro", "crops", "train")
    assert len(train) == 8
    assert train.names[5] == "a/000001_y208_x256"
    degraded, sharp = (np.asarray(Image.open(io.BytesIO(data))) for data in train.encoded(5))
    np.testing.assert_array_equal(degraded, frame[208:720, 256:768])
    np.testing.assert_array_equal(sharp, 255 - frame[208:720, 256:768])
    test = records.Records(data_dir, "gopro", "crops", "test")
    assert test.names == ["c/000001"]
    path = tmp_path / "published" / "test" / "c" / "blur" / "000001.png"
    assert test.encoded(0)[0] == path.read_bytes()


def test_truncated_picture_stops_the_preparation_and_leaves_no_records(copy, tmp_path):
    path = copy / "test" / "GOPR0396_11_00" / "blur" / "000001.png"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"000001\.png: truncated PNG"):
        records.prepare("gopro", "blur", copy, tmp_path / "records")
    assert not records.is_prepared(tmp_path / "records", "gopro", "blur")


def test_picture_damaged_in_the_middle_is_named_when_cropped(copy, tmp_path):
    path = copy / "train" / "GOPR0374_11_00" / "sharp" / "000001.png"
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 12] ^= 255
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"sharp/000001\.png: cannot be read as a picture"):
        records.prepare("gopro", "crops", copy, tmp_path / "records")
