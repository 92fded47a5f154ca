"""What goes wrong with data, named at the place where it is found."""


class PathlineError(Exception):
    """Root of all errors that pathline raises on purpose; its text is one sentence for a user."""


class DataError(PathlineError):
    """Data cannot be used as it is: the text names the file, row and column (or field), and the way out."""
