"""Growing files: a line is added whole, or the file stays as it was."""

import errno
import os


def append_whole(file: int, line: bytes) -> None:
    """Append to a file that was opened for it. A disk that fills up takes a part without an error.

    Raises: OSError: ENOSPC when not all of it could be written.
    """
    size = os.fstat(file).st_size
    try:
        if os.write(file, line) == len(line):
            return
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
        os.ftruncate(file, size)
        raise
