"""The one exception for everything a user can put right."""


class UserError(ValueError):
    """Bad input: a missing folder, an unpaired file, a truncated picture, an unknown value.

    The message is one line that names the thing, says what was expected and what to do. The
    commands print it without a traceback and exit with `exit_code`; from Python it is a ValueError.
    """

    exit_code = 2
