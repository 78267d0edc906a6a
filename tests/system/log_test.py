"""What the commands show of the package's messages."""

import io
import logging

from restore_tf.system import log


def test_a_warning_is_shown_once_and_information_each_time(capsys):
    log.show()
    for _ in range(2):
        log.logger.warning("%s: has two pictures", "a.jpg")
        log.logger.info("step %d", 1)
    log.logger.warning("b.jpg: has two pictures")
    log.show()  # another command
    log.logger.warning("a.jpg: has two pictures")
    assert capsys.readouterr().err.splitlines() == [
        "warning: a.jpg: has two pictures",
        "step 1",
        "step 1",
        "warning: b.jpg: has two pictures",
        "warning: a.jpg: has two pictures",
    ]


def test_a_name_with_a_line_break_stays_in_its_line(capsys):
    log.show()
    log.logger.warning("%s: is left out", "a\nerror: b\x1b[31m\u2028.jpg")
    line = "warning: a\\nerror: b\\x1b[31m\\u2028.jpg: is left out\n"
    assert capsys.readouterr().err == line


def test_a_library_that_configures_logging_does_not_print_our_messages_again():
    said = io.StringIO()
    handler = logging.StreamHandler(said)  # what `logging.basicConfig` adds
    logging.getLogger().addHandler(handler)
    try:
        log.show()
        log.logger.warning("shown once")
        logging.getLogger("theirs").warning("theirs")
    finally:
        logging.getLogger().removeHandler(handler)
    assert said.getvalue().splitlines() == ["theirs"]
