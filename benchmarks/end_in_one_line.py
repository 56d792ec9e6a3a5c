"""How a benchmark of several parts ends where one of them fails: in one line."""

import subprocess
import sys
from collections.abc import Callable

from samcache.cache.errors import SamcacheError


def end_in_one_line(main: Callable[[], None]) -> None:
    """Run a program that resumes; ends the process where it fails or is interrupted."""
    try:
        main()
    except SamcacheError as error:
        sys.exit(f"Error: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)  # the command has said why
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command resumes")
