"""Files are written whole or not at all, at just the path that was asked for."""

import errno
import os
import stat
import subprocess
import sys

import numpy as np
import pytest

from tinyreg.files import load_npz, read_arrays, write_arrays

KIND, NAMES = "test arrays", ("a", "b")


def write(path, a=1.0, **more):
    write_arrays(path, KIND, 1, a=np.full(3, a), b="text", **more)


def first(path):
    return read_arrays(path, KIND, NAMES, 1)["a"][0].item()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", ["x.npz", "x.anything", "x", "ü λ"])
def test_what_is_written_is_read_at_just_this_path(tmp_path, name):
    for path in (tmp_path / name, str(tmp_path / name)):
        write(path, extra=np.zeros(2))
        read = read_arrays(path, KIND, NAMES, 1)
        assert names(tmp_path) == [name]
        assert list(read) == ["a", "b"]
        assert (read["a"].tolist(), read["a"].dtype, read["b"].item()) == ([1] * 3, "f8", "text")


def test_a_relative_path_is_one_of_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("x.npz")
    assert names(tmp_path) == ["x.npz"]
    assert first("x.npz") == 1


class Failing:
    """An array that cannot be written."""

    def __array__(self, dtype=None, copy=None):
        raise KeyboardInterrupt


def test_what_fails_on_the_way_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "x.npz"
    with pytest.raises(KeyboardInterrupt):
        write(path, extra=Failing())
    assert names(tmp_path) == []
    write(path)
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        write(path, 2.0, extra=Failing())

    def fails(*paths):
        raise PermissionError(errno.EACCES, "Permission denied", *paths)

    for name in ("replace", "fsync"):
        monkeypatch.setattr(os, name, fails)
        with pytest.raises(PermissionError):
            write(path, 2.0)
        monkeypatch.undo()
    assert names(tmp_path) == ["x.npz"]
    assert path.read_bytes() == before


def test_a_process_that_is_killed_while_it_writes_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.npz"
    write(path)
    code = f"""
import os, signal
from tinyreg.files import write_arrays
class Kill:
    def __array__(self, dtype=None, copy=None):
        os.kill(os.getpid(), signal.SIGKILL)
write_arrays({str(path)!r}, {KIND!r}, 1, a=[2.0] * 10**6, b="text", c=Kill())
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode != 0
    assert first(path) == 1


def test_the_new_content_is_on_the_disk_before_it_takes_the_name(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        do = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, do=do, name=name: calls.append(name) or do(*a))
    write(tmp_path / "x.npz")
    assert calls == ["fsync", "replace", "fsync"]  # the file, its name, the folder


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_permissions_are_those_of_a_new_file_or_of_the_old_one(tmp_path):
    path, plain = tmp_path / "x.npz", tmp_path / "plain"
    before = os.umask(0o027)
    try:
        plain.touch()
        write(path)
    finally:
        os.umask(before)
    assert path.stat().st_mode == plain.stat().st_mode
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o600)
    write(path, 2.0)
    assert (stat.S_IMODE(path.stat().st_mode), first(path)) == (0o600, 2)


@pytest.mark.skipif(os.name == "nt", reason="Windows asks for a privilege")
@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_a_link(tmp_path, there):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    file, link = tmp_path / "a" / "x.npz", tmp_path / "b" / "link.npz"
    if there:
        write(file)
    link.symlink_to("../a/x.npz")
    write(link, 2.0)
    assert (link.is_symlink(), first(file)) == (True, 2)
    assert (names(tmp_path / "a"), names(tmp_path / "b")) == (["x.npz"], ["link.npz"])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev")
def test_a_device_is_written_and_not_replaced():
    write("/dev/null")
    with pytest.raises(OSError, match="No space left") as caught:
        write("/dev/full")
    assert caught.value.errno == errno.ENOSPC
    for name in ("null", "full"):
        assert stat.S_ISCHR(os.stat(f"/dev/{name}").st_mode)
    assert not [name for name in os.listdir("/dev") if name.startswith(".tinyreg")]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_written_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
        write(pipe)
        (tmp_path / "copy").write_bytes(reader.stdout.read())
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert first(tmp_path / "copy") == 1


def test_a_path_that_cannot_be_written_is_named_as_it_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("text")
    (tmp_path / "folder").mkdir()
    for path, error in (
        ("none/x.npz", FileNotFoundError),
        ("file/x.npz", NotADirectoryError),
        ("folder", IsADirectoryError),
    ):
        with pytest.raises(error) as caught:
            write(path)
        assert (caught.value.filename, caught.value.filename2) == (path, None)
    assert names(tmp_path) == ["file", "folder"]
    assert names(tmp_path / "folder") == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_what_is_read_only_is_left_alone(tmp_path):
    path = tmp_path / "x.npz"
    write(path)
    for protected, mode in ((path, 0o400), (tmp_path, 0o500)):
        protected.chmod(mode)
        with pytest.raises(PermissionError) as caught:
            write(path, 2.0)
        protected.chmod(0o700)
        assert caught.value.filename == str(path)
        assert (names(tmp_path), first(path)) == (["x.npz"], 1)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"format": "another"}, "^its format is 'another'$"),
        ({"version": 2}, "^its version is 2, this tinyreg reads 1$"),
        ({"version": [1, 1]}, "size 1"),
        ({"format": None}, "^it has no 'format'$"),
        ({"version": None}, "^it has no 'version'$"),
        ({"b": None}, "^it has no 'b'$"),
        ({"a": np.array([None, 1], object)}, "allow_pickle=False"),
    ],
)
def test_a_file_that_does_not_fit_says_why(tmp_path, content, words):
    content = {"format": KIND, "version": 1, "a": 1.0, "b": 2.0} | content
    path = tmp_path / "x.npz"
    np.savez(path, **{name: array for name, array in content.items() if array is not None})
    with pytest.raises(ValueError, match=words):
        read_arrays(path, KIND, NAMES, 1)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04", b"\x93NUMPY", bytes(200)])
def test_a_file_that_is_no_archive_is_a_value_error(tmp_path, content):
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"."):
        load_npz(path)


def test_a_missing_file_is_reported_as_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "none.npz", KIND, NAMES, 1)
