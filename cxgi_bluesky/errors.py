"""The one exception family of the project.

Every error that a user can cause or mend is a `CxgiError` whose message names the offending
value and the remedy. The command line prints it in one line; anything else is a defect.
"""


class CxgiError(ValueError):
    """Something the user asked for cannot be done; the message says what and how to mend it."""
