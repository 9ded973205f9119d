"""Check whether the folder of a file exists, and whether it is on a network file system."""

from __future__ import annotations

import os
import re

__all__ = ["find_folder_problem", "is_network_file_system"]

# Names of file systems as in the first field after the dash of /proc/self/mountinfo (proc(5)).
_NETWORK_TYPES = re.compile(
    r"9p|afs|beegfs|ceph|cifs|fuse\.(beegfs|ceph|glusterfs|juicefs|sshfs)|glusterfs|gpfs|lustre|ncpfs|nfs4?|ocfs2"
    r"|orangefs|panfs|pvfs2|quobyte|smb3|smbfs|virtiofs|wekafs"
)


def find_folder_problem(path: str) -> tuple[str, str] | None:
    """Return why no file can be created at a path, and advice; None if its folder exists."""
    folder = os.path.dirname(path)
    if os.path.isdir(folder):
        return None
    if os.path.lexists(folder):
        return f"{folder!r} is not a folder", "correct dbpath"
    return f"folder {folder!r} does not exist", "create the folder, or correct dbpath"


def is_network_file_system(path: str) -> bool:
    """Return whether `path` is on NFS, Lustre, GPFS or another network file system; False if unknown.

    SQLite's WAL needs memory shared by all processes that use the database, so it fails there or corrupts the file
    (https://sqlite.org/wal.html).
    """
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            mounts = [_parse(line) for line in file]
    except OSError:
        return False
    target = os.path.realpath(path)
    containing = [(len(point), index) for index, (point, _) in enumerate(mounts) if _contains(point, target)]
    # If several mounts have the same mount point, the last one is visible.
    return bool(containing) and _NETWORK_TYPES.fullmatch(mounts[max(containing)[1]][1]) is not None


def _parse(line: str) -> tuple[str, str]:
    before, _, after = line.partition(" - ")
    point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), before.split(" ")[4])
    return point, after.split(" ")[0]


def _contains(mount_point: str, path: str) -> bool:
    return mount_point == "/" or path == mount_point or path.startswith(mount_point + "/")
