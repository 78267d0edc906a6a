"""Functions in processes of their own: what is said of one that fails."""

import json

import pytest

from restore_tf.errors import UserError
from restore_tf.export import jobs


def quantise():
    raise RuntimeError


def load():
    raise ValueError("\n  no such operation  \nand more")


def refuse():
    raise UserError("--tflite: too large.")


def answer_of(tmp_path, function):
    job = tmp_path / "job.json"
    job.write_text(json.dumps({"function": "f", "arguments": {}}))
    code = jobs.serve(str(job), {"f": function})
    return code, json.loads((tmp_path / "answer.json").read_text())


@pytest.mark.parametrize(
    ("function", "error", "user"),
    [
        (load, "ValueError: no such operation", False),
        (refuse, "--tflite: too large.", True),
    ],
)
def test_an_error_is_told_in_its_first_line(tmp_path, function, error, user):
    assert answer_of(tmp_path, function) == (1, {"error": error, "user": user})


def test_an_error_without_words_names_its_place(tmp_path):
    code, answer = answer_of(tmp_path, quantise)
    line = quantise.__code__.co_firstlineno + 1
    assert code == 1
    assert answer["error"] == (
        f"RuntimeError, raised without a message by quantise (jobs_test.py, line {line})"
    )
