"""Mixtures of data sets: shares by hand, every part as it is alone, and errors that name it."""

import collections

import numpy as np
import pytest
from tiny_training import folders

from restore_tf.datasets import mixture, sources
from restore_tf.datasets.mixture import Mixture, canonical, parse, parse_roots
from restore_tf.datasets.samples import Samples
from restore_tf.errors import UserError


def plain(name, count, side=24, scale=1):
    """Pictures of one colour each, which says their number."""
    pairs = []
    for index in range(count):
        pixels = np.full((side, side, 3), index, np.uint8)
        pairs.append((pixels, np.zeros((scale * side, scale * side, 3), np.uint8)))
    return sources.MemorySource([f"{name}{i}" for i in range(count)], pairs, scale)


def mixed(shares=(500, 300, 200)):
    sets = {"a:x": plain("a", 7), "b:x": plain("b", 3), "c:y": plain("c", 11)}
    return Mixture(sets, shares)


@pytest.mark.parametrize(
    ("text", "shares", "written"),
    [
        (
            "gopro:blur@0.5,realblur:J@0.3,synthetic:shake@0.2",
            [500, 300, 200],
            "gopro:blur@0.5,realblur:j@0.3,synthetic:shake@0.2",
        ),
        (
            "gopro@2, reds@1 ,hide@1",
            [500, 250, 250],
            "gopro:blur@0.5,reds:blur@0.25,hide:blur@0.25",
        ),
        ("gopro,reds,hide", [334, 333, 333], "gopro:blur@0.334,reds:blur@0.333,hide:blur@0.333"),
        ("folder:mine@1,folder@3", [250, 750], "folder:mine@0.25,folder:pairs@0.75"),
        ("synthetic:BOX", [1000], "synthetic:box@1"),
    ],
)
def test_a_mixture_is_read_and_written(text, shares, written):
    parts = parse(text)
    assert [part.share for part in parts] == shares
    assert canonical(parts) == written
    assert parse(written) == parts


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gopro@0.5,", "'' is no part of a mixture; expected SET:CONFIG@WEIGHT"),
        ("gopro:a:b@1,reds", "'gopro:a:b@1' is no part"),
        ("gopro@half,reds", "--dataset gopro@half: expected a weight above 0"),
        ("gopro@0,reds", "--dataset gopro@0: expected a weight above 0"),
        ("gopro@-1,reds", "gopro@-1: expected a weight above 0"),
        ("gopro@inf,reds", "gopro@inf: expected a weight above 0"),
        ("gopro@nan,reds", "gopro@nan: expected a weight above 0"),
        ("gopr@1,reds", "--dataset gopr: no such data set"),
        ("gopro@1,gopro:blur@1", "gopro:blur: is named twice"),
        ("gopro@5000,reds@1", "reds:blur: has less than a thousandth"),
    ],
)
def test_an_error_names_the_part(text, message):
    with pytest.raises(UserError, match=message):
        parse(text)


def test_of_every_thousand_samples_each_part_has_its_share():
    source = mixed()
    for block in range(2):
        indices = [source.pair_of(1000 * block + n, seed=3) for n in range(1000)]
        parts = collections.Counter(source.names[index][0] for index in indices)
        assert parts == {"a": 500, "b": 300, "c": 200}
    # Not in a row: among the first hundred, 50, 30 and 20 are expected; five deviations at most.
    first = collections.Counter(source.names[source.pair_of(n, 3)][0] for n in range(100))
    assert 25 < first["a"] < 75
    assert 7 < first["b"] < 53


def test_each_part_is_gone_through_as_it_would_be_alone():
    source = mixed()
    shown = collections.defaultdict(list)
    for number in range(2100):  # into the third block
        label, _, name = source.names[source.pair_of(number, 8)].partition("/")
        shown[label].append(name)
    for label, part in source.parts.items():
        alone = [part.names[part.pair_of(n, 8)] for n in range(len(shown[label]))]
        assert shown[label] == alone


def test_a_sample_depends_on_seed_and_number_alone():
    first = [mixed().pair_of(number, 4) for number in range(1500)]
    source = mixed()
    assert [source.pair_of(number, 4) for number in reversed(range(1500))] == first[::-1]
    assert [source.pair_of(number, 5) for number in range(1500)] != first


def test_pairs_are_the_parts_own():
    source = mixed()
    assert len(source) == 21
    assert source.names[7] == "b:x/b0"
    assert source.sizes == [(24, 24)] * 21
    for index, value in ((6, 6), (7, 0), (9, 2), (10, 0), (20, 10)):
        assert source.read(index)[0].max() == value
        degraded, _ = source.read_crop(index, lambda size: (1, 2), 8)
        assert degraded.shape == (8, 8, 3)
        assert degraded.max() == value


def test_noise_stays_with_its_part():
    source = mixture.open_pairs("synthetic:noise25,synthetic:motion", None, "train", seed=1)
    samples = Samples(source, crop=32, seed=1)
    for number in range(12):
        label = source.names[source.pair_of(number, 1)].partition("/")[0]
        degraded, _, _ = samples(number)
        levels = 255 * degraded
        whole = np.abs(levels - np.rint(levels)).max() < 1e-3
        assert whole == (label == "synthetic:motion")


def test_a_cached_mixture_makes_the_same_samples():
    source = mixture.open_pairs("synthetic:noise25,synthetic:motion@3", None, "validation")
    cached = sources.cached(source)
    for number in range(6):
        one, other = (Samples(s, crop=32, seed=1)(number)[0] for s in (source, cached))
        np.testing.assert_array_equal(one, other)


def test_sizes_that_are_known_late_stay_unknown():
    late = plain("a", 2)
    late.sizes = None
    assert Mixture({"a": late, "b": plain("b", 2)}, (500, 500)).sizes is None


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            plain("b", 2, scale=2),
            "b:x of the mixture: .* 2 times as large, those before it 1 times",
        ),
        (sources.MemorySource([], []), "b:x of the mixture: has no pairs"),
    ],
)
def test_parts_have_to_fit(other, message):
    with pytest.raises(UserError, match=message):
        Mixture({"a:x": plain("a", 2), "b:x": other}, (500, 500))


# Where the parts lie.

PARTS = parse("gopro@1,gopro:blur_gamma@1,folder:mine@1,synthetic@1")


@pytest.mark.parametrize(
    ("text", "roots"),
    [
        (None, {}),
        ("gopro=/a", {"gopro:blur": "/a", "gopro:blur_gamma": "/a"}),
        (
            "gopro=/a,gopro:blur_gamma=/b,folder:mine=/c,d=e/f, g",
            {"gopro:blur": "/a", "gopro:blur_gamma": "/b", "folder:mine": "/c,d=e/f, g"},
        ),
        ("synthetic=my photos", {"synthetic:shake": "my photos"}),
    ],
)
def test_folders_are_read_and_written(text, roots, monkeypatch, tmp_path):
    if text and ",d=" in text:
        text, roots = text.replace("d=e/f", "d/f"), {**roots, "folder:mine": "/c,d/f, g"}
    assert parse_roots(text, PARTS) == roots
    monkeypatch.chdir(tmp_path)
    written = mixture.written_roots(roots)
    assert parse_roots(written, PARTS) == {k: str(tmp_path / path) for k, path in roots.items()}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("/a", "--data_dir /a: for a mixture expected gopro=FOLDER,folder=FOLDER,synthetic=FOLDER"),
        ("gopro=", "--data_dir gopro=: for a mixture expected"),
        ("reds=/a", "--data_dir reds=/a: the mixture has gopro:blur, gopro:blur_gamma"),
        ("gopro=/a,reds=/a", "--data_dir reds=/a: the mixture has"),
    ],
)
def test_other_folders_are_refused(text, message):
    with pytest.raises(UserError, match=message):
        parse_roots(text, PARTS)


def test_every_part_is_opened_where_it_lies(tmp_path):
    _, degraded, sharp = folders(tmp_path)
    (tmp_path / "degraded").rename(tmp_path / "input")
    (tmp_path / "sharp").rename(tmp_path / "target")
    source = mixture.open_pairs(
        "folder@0.5,synthetic:defocus@0.5", None, "test", data_dir=f"folder={tmp_path}"
    )
    assert [len(part) for part in source.parts.values()] == [12, 10]
    assert source.names[0] == "folder:pairs/a/0"
    with pytest.raises(UserError, match="gopro:blur of the mixture: .* needs --data_dir"):
        mixture.open_pairs("folder,gopro", None, "test", data_dir=f"folder={tmp_path}")
    with pytest.raises(UserError, match="synthetic:bicubic2 of the mixture: .* 2 times"):
        mixture.open_pairs("synthetic,synthetic:bicubic2", None, "test")
    two = [flag.partition("=")[2] for flag in (degraded, sharp)]
    renamed = {"degraded_dir": two[0].replace("degraded", "input")}
    renamed["sharp_dir"] = two[1].replace("sharp", "target")
    assert len(mixture.open_pairs("folder,synthetic", None, "test", **renamed)) == 22


def test_one_set_is_opened_as_ever():
    source = mixture.open_pairs("synthetic", "motion", "test")
    assert source.parts == {}
    assert len(source) == 10
