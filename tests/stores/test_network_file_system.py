"""Detecting network file systems."""

import pytest

from transferkit.stores.sqlite import on_network_file_system

MOUNTS = r"""
23 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 23 0:45 / {root}/net rw,relatime shared:22 - nfs4 server:/export rw,vers=4.2
41 40 8:2 / {root}/net/local rw - xfs /dev/sdb rw
42 23 0:46 / {root}/with\040space rw master:3 - fuse.sshfs host: rw
43 23 0:47 / {root}/over rw - ext4 /dev/sdc rw
44 43 0:48 / {root}/over rw - cifs //host/share rw
not a mount
"""


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("a.db", None),
        ("net/a.db", "nfs4"),
        ("net/deep/er/a.db", "nfs4"),
        ("network/a.db", None),
        ("net/local/a.db", None),
        ("with space/a.db", "fuse.sshfs"),
        ("over/a.db", "cifs"),
    ],
)
def test_the_type_of_a_network_file_system_is_returned(tmp_path, file, kind):
    root = tmp_path.resolve()
    mounts = root / "mountinfo"
    mounts.write_text(MOUNTS.replace("{root}", str(root)))
    assert on_network_file_system(root / file, mounts=mounts) == kind


def test_no_network_file_system_is_returned_without_a_mount_table(tmp_path):
    assert on_network_file_system(tmp_path / "a.db", mounts=tmp_path / "missing") is None
    assert on_network_file_system(str(tmp_path / "a.db")) in {None, "9p", "virtiofs"}
