"""Every error a user can cause: one line with what was expected, found, and what to do."""

import errno

_ACCESS = "ask its owner for access, or use a copy of your own"
_ROOM = "free some space, and run the same command again"
_ADVICE = {  # by the system's number of an error
    errno.EACCES: _ACCESS,
    errno.EPERM: _ACCESS,
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EROFS: "give a path on a writable disk",
    errno.EIO: "the disk has errors: use a copy on another disk",
    errno.EMFILE: "allow more open files, with ulimit -n",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ENOTDIR: "a part of this path is a file: check the path",
    errno.ENOENT: "check the path",
}


class SamcacheError(Exception):
    """The base of all errors that reach a user as one line, without a traceback.

    hint: the parameter that solves it, such as "pool", in words of the library; ``commands`` adds
    the name of the option to the line that the user reads.
    """

    def __init__(self, message: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class SourceError(SamcacheError):
    """A source of images (npz, manifest, folder), or a table, cannot be used as it is."""


class ImageError(SamcacheError):
    """One image cannot be read; recorded with its row, it does not end a run."""


class CheckpointError(SamcacheError):
    """Encoder weights are missing, damaged, or belong to another encoder."""


class ConfigError(SamcacheError):
    """Options that do not fit each other, the encoder, or the store."""


class StoreError(SamcacheError):
    """A store is missing, damaged, or holds something else than the command needs."""


class NoStoreError(StoreError):
    """There is no store at a place, and nothing that looks like one."""


class AccessError(StoreError):
    """The store exists, and this user has no right to read or write it."""


class UnreachableError(StoreError):
    """The other side gave no answer, or an answer that a repeated request may change."""


class FormatError(StoreError):
    """A store has another format than this version reads."""


class UnfinishedError(StoreError):
    """A store is being created, or its creation was interrupted; nothing of it is lost."""


class OvertakenError(StoreError):
    """Another process has changed the store first; nothing of it is lost."""


class UnknownNameError(SamcacheError, KeyError):
    """A split, level or view that is not in a store; the message names those that are."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would show its repr


class WriteError(SamcacheError):
    """An output file cannot be written; a former file stays as it was."""


def make_write_error(path: object, error: Exception) -> WriteError:
    """The error for a file that a full disk, missing rights or a library's writer refuses."""
    reason, advice = read_first_line(error), "free some space, and run the same command again"
    if isinstance(error, OSError):
        reason = error.strerror or reason
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            advice = "choose another path, or ask for write permission"
    return WriteError(f"{path} cannot be written ({reason}): {advice}")


def describe_os_error(error: OSError) -> str:
    """A line on what the system refused: the path, its reason in words, and what to do."""
    reason = error.strerror or read_first_line(error)
    name = f"{error.filename}: " if error.filename else ""
    return f"{name}{reason}: {_ADVICE.get(error.errno or 0, 'check the path and the disk')}"


def read_first_line(error: Exception) -> str:
    """The first line of another library's error, or its kind where it has no text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
