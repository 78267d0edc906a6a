"""The exception for errors that a user can fix."""

import unicodedata

_BREAKING = ("Cc", "Zl", "Zp")  # Unicode's controls and ends of lines and paragraphs


def one_line(text: str) -> str:
    """Returns a text on one line: control characters and line breaks become escapes ("a\\n.jpg").

    Args:
      text: any text, such as a file's name.
    """
    if text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in _BREAKING
        else character
        for character in text
    )


class UserError(ValueError):
    """Bad input: a missing folder, an unpaired file, a truncated picture, an unknown value.

    The message is one line that names the thing, says what was expected and what to do. The
    commands print it without a traceback and exit with `exit_code`; from Python it is a ValueError.
    """

    exit_code = 2

    def __init__(self, message: str = ""):
        super().__init__(one_line(str(message)))
