"""Files are written whole or not at all, at just the path that was asked for."""

import errno
import io
import os
import pickle
import stat
import struct
import subprocess
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest

from tinyreg.files import load_npz, read_arrays, reading, replacing, write_arrays

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
write_arrays({str(path)!r}, {KIND!r}, 1, a=[2.0] * 10**5, b="text", c=Kill())
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
    assert not [name for name in os.listdir("/dev") if name.endswith(".tmp")]


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


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the size of files")
def test_a_disk_that_is_full_leaves_the_old_file_and_says_which(tmp_path):
    import resource

    path = tmp_path / "x.npz"
    write(path)
    before, soft, hard = path.read_bytes(), *resource.getrlimit(resource.RLIMIT_FSIZE)
    for size in (100, 5_000, 60_000):  # within the first array, the last one, and at the very end
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            with pytest.raises(OSError, match="File too large") as caught:
                write(path, 2.0, more=np.zeros(7400))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(path))
    assert names(tmp_path) == ["x.npz"]
    assert path.read_bytes() == before


def test_an_error_of_another_file_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, replacing(tmp_path / "x"):
        os.stat(tmp_path / "none")
    assert caught.value.filename == str(tmp_path / "none")
    assert names(tmp_path) == []


def test_an_array_is_in_the_memory_once_when_it_is_written_or_read(tmp_path):
    path, a = tmp_path / "x.npz", np.arange(3e6).reshape(1000, 3000).T
    tracemalloc.start()
    write_arrays(path, KIND, 1, a=a, b="text")
    assert tracemalloc.get_traced_memory()[1] < 2**24 + 2**20  # NumPy takes 16 MiB at a time
    read = read_arrays(path, KIND, NAMES, 1)["a"]
    assert tracemalloc.get_traced_memory()[1] < a.nbytes + 2**20
    tracemalloc.stop()
    np.testing.assert_array_equal(read, a)
    assert read.flags.f_contiguous


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"format": "another"}, "^its format is 'another'$"),
        ({"version": 2}, "^its version is 2, this tinyreg reads 1$"),
        ({"version": [1, 1]}, r"^its version is \[1, 1\], this tinyreg reads 1$"),
        ({"format": "x" * 500}, "^its array 'format' is declared larger than the file$"),
        ({"format": None}, "^it has no 'format'$"),
        ({"version": None}, "^it has no 'version'$"),
        ({"b": None}, "^it has no 'b'$"),
        ({"a": np.array([None, 1], object)}, "^its array 'a' holds no numbers or text; objects"),
        ({"a": np.zeros(2, [("x", "f8")])}, "^its array 'a' holds no numbers or text; objects"),
    ],
)
def test_a_file_that_does_not_fit_says_why(tmp_path, content, words):
    content = {"format": KIND, "version": 1, "a": 1.0, "b": 2.0} | content
    path = tmp_path / "x.npz"
    np.savez(path, **{name: array for name, array in content.items() if array is not None})
    with pytest.raises(ValueError, match=words):
        read_arrays(path, KIND, NAMES, 1)


NPY = io.BytesIO()
np.save(NPY, np.arange(9.0))
NOT_NPZ = [b"", b"hello", b"PK\x03\x04", NPY.getvalue(), pickle.dumps({"a": 1}), bytes(99_999)]


@pytest.mark.parametrize("content", [*NOT_NPZ, None, "folder"])
def test_a_file_that_is_no_npz_is_said_to_be_none_in_one_line(tmp_path, content):
    path = tmp_path / "x.npz"
    if content == "folder":
        path.mkdir()
    elif content is None:
        write(path)
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.write_bytes(content)
    what = "a folder" if content == "folder" else "no NPZ file, or a damaged one"
    with pytest.raises(ValueError, match=f"^it is {what}$"):
        load_npz(path, NAMES)
    told = f"^path must be data, got '.*': it is {what}$"
    with pytest.raises(ValueError, match=told), reading(path, "data"):
        read_arrays(path, KIND, NAMES, 1)


def archive(compression=zipfile.ZIP_DEFLATED, **members):
    """An NPZ file as others may write it, of the parts of `write` and these members."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as file:
        for name, data in (
            {"format": KIND, "version": 1, "a": np.ones(3), "b": 0} | members
        ).items():
            if not isinstance(data, bytes):
                array = io.BytesIO()
                np.save(array, data)
                data = array.getvalue()
            file.writestr(f"{name}.npy", data)
    return content.getvalue()


def member(header, data=b"", version=1):
    """An array with a header of one's own."""
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header.encode() + data


def header(descr, shape):
    return f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}\n"


def directory(n):
    """A file that is all directory, with n members; read as objects it takes ten times its size."""
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", 20, 3, 20, *[0] * 8, 1, *[0] * 6) + b"a"
    return n * entry + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0, 0, n * len(entry), 0, 0)


LARGE = bytes(2**25)
END = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 3, 3, 2**62, 0)
END += struct.pack("<4sLQL", b"PK\6\7", 0, 0, 1)
END += struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, 2**32 - 1, 2**32 - 1, 0)
EVIL = {
    "declared": lambda: archive(a=member(header("<f8", (16_000, 16_000)))),
    "declared, with no data": lambda: archive(a=member(header("<f8", (100_000,)))),
    "inflated": lambda: archive(a=member(header("<f8", (2**22,)), LARGE)),
    "each within the bound, but not both": lambda: archive(a=np.zeros(100_000), b=np.zeros(90_000)),
    "a text of 2 GB": lambda: archive(a=member(header("<U500000000", ()))),
    "no character": lambda: archive(b=member(header("<U1", ()), b"\xff\xff\xff\x7f")),
    "no character in the other order": lambda: archive(b=member(header(">U1", ()), b"\1\0\0\0")),
    "texts of no length": lambda: archive(a=member(header("<U0", (10**12,)))),
    "negative": lambda: archive(a=member(header("<f8", (-1, -3)), bytes(24))),
    "more numbers than declared": lambda: archive(a=member(header("<f8", (2,)), bytes(24))),
    "numbers where none are declared": lambda: archive(a=member(header("<f8", (0,)), bytes(8))),
    "a long header": lambda: archive(a=member(" " * len(LARGE), version=2)),
    "a deep header": lambda: archive(a=member("(" * 9000)),
    "a header of Python 2": lambda: archive(a=member(header("<f8", (3,)).replace("3", "3L"))),
    "bzip2": lambda: archive(zipfile.ZIP_BZIP2, a=member(header("<f8", (2**22,)), LARGE)),
    "a directory of 9 MB": lambda: directory(200_000),
    "a length of 2⁶²": lambda: END,
    "encrypted": lambda: archive(0).replace(b"PK\1\2\x14\3\x14\0\0", b"PK\1\2\x14\3\x14\0\1"),
}


@pytest.mark.parametrize("kind", EVIL)
def test_no_file_takes_more_memory_than_twice_its_size_and_16_mib(tmp_path, kind):
    path = tmp_path / "x.npz"
    path.write_bytes(EVIL[kind]())
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"^it is no NPZ|^its array '[abf]") as caught:
        read_arrays(path, KIND, NAMES, 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * path.stat().st_size + 2**24
    assert len(str(caught.value)) < 100
    assert "\n" not in str(caught.value)


def test_only_the_arrays_that_are_asked_for_are_read(tmp_path):
    path = tmp_path / "x.npz"
    path.write_bytes(archive(large=member(header("<f8", (2**22,)), LARGE), broken=b"none"))
    tracemalloc.start()
    assert read_arrays(path, KIND, NAMES, 1)["a"].tolist() == [1, 1, 1]  # may be compressed
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()
    known = load_npz(path, ["b", "none"])
    assert (list(known), known["b"], known["a"]) == (
        ["format", "version", "a", "b", "large", "broken"], 0, None,
    )  # fmt: skip


def test_a_damaged_file_is_refused_or_read_as_it_was(tmp_path):
    path, rng = tmp_path / "x.npz", np.random.default_rng(0)
    write_arrays(path, KIND, 1, a=rng.normal(size=20), b="text")
    whole, right = path.read_bytes(), read_arrays(path, KIND, NAMES, 1)
    outcomes = []
    for i in range(300):
        content = bytearray(whole)
        for at in rng.integers(len(whole), size=1 + i % 3):
            content[at] ^= 1 << rng.integers(8)
        start, stop = sorted(rng.integers(len(whole), size=2))
        path.write_bytes([content, content, whole[:start], whole[:start] + whole[stop:]][i % 4])
        try:
            read = read_arrays(path, KIND, NAMES, 1)
            outcomes.append(all(read[name].tobytes() == right[name].tobytes() for name in NAMES))
        except ValueError as e:
            outcomes.append(str(e))
    told = {outcome for outcome in outcomes if outcome is not True}
    assert False not in told
    assert len(told) > 5
    assert max(len(text.splitlines()) for text in told) == 1
    assert 10 < outcomes.count(True) < 100


def test_a_missing_file_is_reported_as_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "none.npz", KIND, NAMES, 1)
