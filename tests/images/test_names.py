"""Names, places and disks: one sentence each, nothing hung, nothing left behind."""

from __future__ import annotations

import os
import resource
import socket
import stat
import sys
from pathlib import Path

import pytest
import torch

from gpen_core.errors import InputError
from gpen_core.files import replacing, shown
from gpen_core.images.formats import WRITABLE
from gpen_core.images.picture import Picture
from gpen_core.images.read import read_picture
from gpen_core.images.write import check_writable, write_picture

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="names and modes of POSIX")
PICTURE = Picture(torch.rand(3, 64, 64))


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def _folder(path: Path) -> None:
    path.mkdir()


def _loop(path: Path) -> None:
    path.symlink_to(path)


THINGS = {"pipe": _pipe, "device": _device, "socket": _socket, "folder": _folder, "loop": _loop}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("thing", THINGS)
def test_what_is_no_file_is_neither_read_nor_replaced(tmp_path, monkeypatch, thing):
    monkeypatch.chdir(tmp_path)  # the name of a socket may not be long
    path = Path("in.png")
    THINGS[thing](path)
    with pytest.raises(InputError, match=r"in\.png"):
        read_picture(path)
    with pytest.raises(InputError, match=r"in\.png"):
        write_picture(path, PICTURE, overwrite=True)
    assert names_in(tmp_path) == ["in.png"]


NAMES = {
    "NUL": "a\0b.png",
    "long": "x" * 300 + ".png",
    "deep": "/".join(["y" * 200] * 25) + "/a.png",
    "surrogate": "a\ud800.png",
    "nobody": "~nobody_of_this_name/a.png",
    "below a file": "file/a.png",
    "empty": "",
}


@pytest.mark.parametrize("kind", NAMES)
def test_names_that_cannot_be_are_one_sentence(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    with pytest.raises(InputError) as caught:
        read_picture(NAMES[kind])
    str(caught.value).encode("utf-8")  # it can be printed
    if kind == "nobody":
        return  # a folder like any other: the shell knows people, the library does not
    with pytest.raises(InputError) as caught:
        check_writable(NAMES[kind], overwrite=True)
    str(caught.value).encode("utf-8")
    assert names_in(tmp_path) == ["file"]


@pytest.mark.parametrize("suffix", WRITABLE)
def test_names_as_long_as_the_file_system_allows(tmp_path, suffix):
    if suffix == ".avif":
        pytest.importorskip("PIL._avif", reason="this Pillow was built without AVIF")
    longest = os.pathconf(tmp_path, "PC_NAME_MAX")
    path = tmp_path / ("x" * (longest - len(suffix)) + suffix)
    write_picture(path, PICTURE)
    assert read_picture(path).size == (64, 64)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["naïve 写真.png", "-rf.png", " .png", "a\nb.png", "\udcff.png"])
def test_strange_names_work_and_are_shown_harmlessly(tmp_path, name):
    path = tmp_path / name
    write_picture(path, PICTURE)
    assert read_picture(path).size == (64, 64)
    with pytest.raises(InputError) as caught:
        write_picture(path, PICTURE)
    assert caught.value.remedy == "overwrite"
    text = str(caught.value)
    assert text.isprintable()
    text.encode("utf-8")


def test_control_characters_are_escaped():
    assert shown("a\x1b[31m\r\n\udcff ü") == "a\\x1b[31m\\r\\n\\udcff ü"


def test_errors_name_no_flag(tmp_path):
    write_picture(tmp_path / "a.png", PICTURE)
    with pytest.raises(InputError) as caught:
        write_picture(tmp_path / "a.png", PICTURE)
    assert "--" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o755])
def test_permissions_of_a_replaced_file_stay(tmp_path, mode):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    path.chmod(mode)
    write_picture(path, PICTURE, overwrite=True)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_new_file_has_the_permissions_of_any(tmp_path):
    (tmp_path / "other").write_text("")
    write_picture(tmp_path / "a.png", PICTURE)
    modes = {stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()}
    assert len(modes) == 1


def test_a_link_is_followed_and_stays(tmp_path):
    (tmp_path / "real").mkdir()
    link, real = tmp_path / "a.png", tmp_path / "real" / "b.png"
    real.write_bytes(b"old")
    link.symlink_to(real)
    with pytest.raises(InputError, match="exists already"):
        write_picture(link, PICTURE)
    write_picture(link, PICTURE, overwrite=True)
    assert link.is_symlink()
    assert read_picture(real).size == (64, 64)
    assert [each.name for each in (tmp_path / "real").iterdir()] == ["b.png"]


@pytest.fixture
def small_disk():
    """Files may not grow beyond 2,000 bytes: the kernel refuses as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp", ".ppm", ".tga", ".jp2"])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, small_disk, suffix):
    target = tmp_path / f"a{suffix}"
    target.write_bytes(b"precious")
    with pytest.raises(InputError, match="could not be written"):
        write_picture(target, PICTURE, overwrite=True)
    assert target.read_bytes() == b"precious"
    assert names_in(tmp_path) == [target.name]


def test_an_interruption_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "a.png") as scratch:
        scratch.write_bytes(b"half")
        raise KeyboardInterrupt
    assert names_in(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_said_before_the_work(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("this user may write everywhere (root)")
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="cannot be written"):
        check_writable(tmp_path / "a.png", False)
    tmp_path.chmod(0o700)


def test_checking_makes_no_folders(tmp_path):
    assert check_writable(tmp_path / "new" / "newer" / "a.png", False).name == "a.png"
    assert names_in(tmp_path) == []
