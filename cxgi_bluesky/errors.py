"""The one exception family of the project.

Every error that a user can cause or mend is a `CxgiError` whose message names the offending
value and the remedy. The command line prints it in one line; anything else is a defect.
"""

LONGEST = 1500  # characters: a damaged file may have any number of them in a value


class CxgiError(ValueError):
    """Something the user asked for cannot be done; the message says what and how to mend it."""

    def __init__(self, message: object = "") -> None:
        text = str(message)
        super().__init__(text if len(text) <= LONGEST else f"{text[:LONGEST]} ...")
