"""The store: identity, layout, commits, reading. Knows numpy, pandas and zarr, never torch."""

import platform

try:
    import fcntl  # noqa: F401  locks, which stores and run folders depend on
except ImportError:
    raise ImportError(
        f"samcache needs Linux or macOS, found {platform.system() or 'another system'} without "
        "POSIX file locks: on Windows, use the Windows Subsystem for Linux (WSL 2)",
        name="fcntl",
    ) from None
