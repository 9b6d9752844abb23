"""Detects files on a network file system, where SQLite's locks and shared memory are unreliable."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

__all__ = ["on_network_file_system"]

_NETWORK: Final = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "fuse.cephfs",
        "fuse.glusterfs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
        "gfs2",
        "glusterfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "smb3",
        "smbfs",
        "virtiofs",
    }
)
_ESCAPED = re.compile(r"\\([0-7]{3})")


def on_network_file_system(path: Path | str, *, mounts: Path = Path("/proc/self/mountinfo")) -> str | None:
    """The type of the network file system that holds `path`, such as `nfs4`; None where it is local.

    The file need not exist. Also None if there is no mount table (on other systems than Linux).
    `mounts` has the format of proc(5), `/proc/pid/mountinfo`.
    """
    try:
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return None
    places = {Path(path).resolve(), *Path(path).resolve().parents}
    deepest, found = -1, None
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.partition(" ")[0]
        if len(fields) < 5 or not kind:  # noqa: PLR2004 - proc(5): the fifth field is the mount point
            continue
        point = Path(_ESCAPED.sub(lambda match: chr(int(match[1], 8)), fields[4]))
        if point in places and len(point.parts) >= deepest:  # a later mount hides an earlier one
            deepest, found = len(point.parts), kind
    return found if found in _NETWORK else None
