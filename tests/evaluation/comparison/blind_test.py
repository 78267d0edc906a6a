"""The blind vote: what the page gives away, and how votes are counted."""

import json
import re

import pytest
from scipy import stats
from toy_comparison import planted, with_pictures

from restore_tf.errors import UserError
from restore_tf.evaluation.comparison import blind, report

ROWS = ["unsharp", "unet@all", "gan@all"]
SHOWN = {"input", "unet@all", "gan@all"}


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    found = with_pictures(tmp_path_factory.mktemp("blind"), 4, ("psnr", "gmsd"), ROWS)
    blind.write_blind(found, seed=1, crop=48)
    return found


@pytest.fixture
def key(comparison):
    return json.loads((comparison.folder / "blind_key.json").read_text())


def _votes(path, key, favourite):
    """Votes for one row in every question."""
    votes = {}
    for number, asked in enumerate(key["questions"], 1):
        letters = {row: letter for letter, row in asked["columns"].items()}
        votes[str(number)] = letters[favourite]
    path.write_text(json.dumps({"comparison": key["id"], "votes": votes}))
    return votes


def test_every_picture_is_asked_and_columns_are_shuffled(key):
    assert len(key["questions"]) == 8
    assert len({(each["block"], each["picture"]) for each in key["questions"]}) == 8
    orders = {tuple(each["columns"].values()) for each in key["questions"]}
    assert {frozenset(order) for order in orders} == {frozenset(SHOWN)}
    assert len(orders) > 1


def test_the_page_names_no_network(comparison):
    text = (comparison.folder / "blind.html").read_text()
    text = re.sub(r"data:image/webp;base64,[A-Za-z0-9+/=]+", "", text)
    for word in ("unet", "U-Net", "gan@", "DeblurGAN", "photo/", "synthetic_"):
        assert word not in text
    assert "http" not in text


def test_the_same_seed_gives_the_same_page(comparison, key):
    text = (comparison.folder / "blind.html").read_bytes()
    blind.write_blind(comparison, seed=2, crop=48)
    assert json.loads((comparison.folder / "blind_key.json").read_text())["id"] != key["id"]
    blind.write_blind(comparison, seed=1, crop=48)
    assert (comparison.folder / "blind.html").read_bytes() == text


def test_votes_are_counted(tmp_path, comparison, key):
    votes = _votes(tmp_path / "votes.json", key, "gan@all")
    found = blind.tally(comparison, tmp_path / "votes.json")
    assert (found.answered, found.questions) == (8, 8)
    assert found.chance == pytest.approx(1 / 3)
    low, high = stats.binomtest(8, 8).proportion_ci(0.95, method="wilson")
    assert found.wins[0] == ("gan@all", 8, 8, 1.0, pytest.approx(low), pytest.approx(high))
    assert {(each.row, each.votes) for each in found.wins[1:]} == {("input", 0), ("unet@all", 0)}
    some = dict(list(votes.items())[:3])
    text = json.dumps({"comparison": key["id"], "votes": some})
    (tmp_path / "votes.json").write_text(text)
    assert blind.tally(comparison, tmp_path / "votes.json").answered == 3


def test_the_tally_stands_in_the_report(tmp_path, comparison, key):
    _votes(tmp_path / "votes.json", key, "unet@all")
    report.write(comparison, crop=48, tally=blind.tally(comparison, tmp_path / "votes.json"))
    text = (comparison.folder / "index.html").read_text()
    assert "8 of 8 questions; by chance 33%" in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("{", "is not JSON"),
        ("[1]", "expected a JSON object"),
        ({"comparison": "other", "votes": {"1": "A"}}, "of another blind page"),
        ({"votes": {}}, "holds no votes"),
        ({"votes": {"1": "Q"}}, "no picture Q of question 1"),
        ({"votes": {"99": "A"}}, "no picture A of question 99"),
        ({"votes": {"1": ["A"]}}, "of question 1"),
    ],
)
def test_wrong_votes(tmp_path, comparison, key, content, message):
    path = tmp_path / "votes.json"
    if isinstance(content, dict):
        content = json.dumps({"comparison": key["id"], **content})
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=message) as error:
        blind.tally(comparison, path)
    assert "\n" not in str(error.value)


def test_votes_without_a_page(tmp_path):
    found = with_pictures(tmp_path, 1, ("psnr",), ["unet@all"])
    with pytest.raises(UserError, match="write the blind page first"):
        blind.tally(found, tmp_path / "votes.json")


def test_nothing_to_vote_on(tmp_path):
    with pytest.raises(UserError, match="no pictures to vote on"):
        blind.write_blind(planted(5).__class__(**{**vars(planted(5)), "folder": tmp_path}))
    found = with_pictures(tmp_path, 1, ("psnr",), ["unsharp"])
    with pytest.raises(UserError, match="no network to vote on"):
        blind.write_blind(found)
