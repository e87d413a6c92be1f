"""Finished runs are kept on the disk, and a study goes on from them."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy import sparse

import tinyreg as tr
from tinyreg.files import read_arrays, write_arrays
from tinyreg.study.runs import Setup
from tinyreg.study.store import KIND

rng = np.random.default_rng(0)
X, y = rng.normal(size=(60, 4)), np.arange(60) % 3
PARTS = (X[:40], y[:40], X[40:], y[40:])
SETTINGS = {"hidden": (3,), "epochs": 2, "seeds": (0, 1), "methods": ["subgradient", "proximal"]}
PATH = {"lams": [1e-3, 0.1], "first_epochs": 2}
STUDIES = {"path": (tr.path, SETTINGS | PATH), "comparison": (tr.compare, SETTINGS)}
MEASURED = ("seconds", "forward_seconds", "compact_seconds")
every = pytest.mark.parametrize("study", STUDIES)


def run(study, parts=PARTS, **changes):
    """(what a study returned, the lines of its progress)."""
    function, settings = STUDIES[study]
    lines = []
    result = function(*parts, **settings | {"progress": lines.append} | changes)
    return result, lines


def numbers(result, *left_out):
    """All that a study returned, as JSON has it, without the times."""

    def strip(value):
        if isinstance(value, dict):
            return {key: strip(v) for key, v in value.items() if key not in left_out}
        return [strip(v) for v in value] if isinstance(value, list) else value

    return strip(result.to_dict())


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def kept(lines):
    return [line for line in lines if line.endswith("kept from before")]


@pytest.fixture(scope="module")
def whole():
    """Of each study a run that was never broken off."""
    return {study: run(study)[0] for study in STUDIES}


class Cut(Exception):
    """The end of a process, as a study sees it."""


def cut_after(n):
    """Progress that breaks off at the n-th line of new work."""
    lines = []

    def progress(line):
        if not line.endswith("kept from before"):
            lines.append(line)
        if len(lines) == n:
            raise Cut

    return progress


@every
def test_a_study_that_was_cut_short_goes_on_and_ends_as_if_it_had_not_been(study, whole, tmp_path):
    done = {}
    for n in (1, 3, 3, 4):
        with pytest.raises(Cut):
            run(study, out=tmp_path, progress=cut_after(n))
        now = {path.name: path.stat().st_ino for path in (tmp_path / "runs").iterdir()}
        assert now.items() >= done.items()
        done = now
    assert 1 < len(done) < 4
    result, lines = run(study, out=tmp_path)
    assert len(kept(lines)) == len(done)
    assert numbers(result, *MEASURED) == numbers(whole[study], *MEASURED)
    again, lines = run(study, out=str(tmp_path))
    assert numbers(again) == numbers(result)
    assert lines == kept(lines)
    assert len(lines) == 4


@every
def test_other_methods_and_seeds_are_trained_and_those_left_out_are_removed(study, whole, tmp_path):
    (tmp_path / "runs").mkdir()
    mine = ["notes.npz", "runs/proximal-0.npz", "runs/notes.txt", "runs/mine-none-0.npz"]
    for name in mine:
        (tmp_path / name).write_text("mine")
    _, lines = run(study, out=tmp_path, seeds=(1,), methods=["proximal"])
    assert kept(lines) == []
    result, lines = run(study, out=tmp_path)
    assert kept(lines) == ["proximal, seed 1: kept from before"]
    assert numbers(result, *MEASURED) == numbers(whole[study], *MEASURED)
    result, lines = run(study, out=tmp_path, seeds=(1, 0), methods=["proximal"])
    assert lines == ["proximal, seed 1: kept from before", "proximal, seed 0: kept from before"]
    assert numbers(result) == numbers(
        run(study, out=tmp_path, seeds=(1, 0), methods=["proximal"])[0]
    )
    assert files(tmp_path) == sorted(
        [*mine, f"runs/{study}-proximal-0.npz", f"runs/{study}-proximal-1.npz"]
    )
    assert {(tmp_path / name).read_text() for name in mine} == {"mine"}


def late(step):
    return 0.1 if step < 5 else 0.2


class Silent:
    """A penalty that does not say what it is of."""

    smooth, elementwise = True, True

    def __init__(self, lam):
        self.strength = lam

    def value(self, w):
        return self.strength * np.sum(w**2)

    def subgradient(self, w):
        return 2 * self.strength * w

    def prox(self, w, step):
        return w / (1 + 2 * self.strength * step)

    def residual(self, w, g):
        return np.abs(g + 2 * self.strength * w)


def nudged(place):
    parts = [part.copy() for part in PARTS]
    parts[place].flat[-1] = np.nextafter(parts[place].flat[-1], 9) if place % 2 == 0 else 1
    return parts


CHANGES = [
    {"epochs": 3}, {"batch_size": 16}, {"hidden": (4,)}, {"activation": "tanh"},
    {"dtype": "float32"}, {"optimizer": tr.SGD(0.1)}, {"optimizer": tr.SGD(late)},
    {"penalty": tr.L2(1e-3)}, {"parts": nudged(0)}, {"parts": nudged(1)}, {"parts": nudged(2)},
    {"parts": nudged(3)}, {"class_weight": "balanced"}, {"class_weight": {0: 2.0}},
    {"parts": (sparse.csr_array(X[:40]), *PARTS[1:])},
]  # fmt: skip


@pytest.mark.parametrize(
    ("study", "changes"),
    [
        *(("comparison", changes) for changes in CHANGES),
        *(("path", CHANGES[i]) for i in (0, 8, -2)),
    ],
    ids=lambda it: it if isinstance(it, str) else next(iter(it)),
)
def test_runs_of_other_settings_or_data_are_made_anew(study, changes, tmp_path):
    few = {"methods": ["proximal"], "seeds": (1,)}
    run(study, out=tmp_path, **few)
    expected, _ = run(study, **few, **changes)
    result, lines = run(study, out=tmp_path, **few, **changes)
    assert kept(lines) == []
    assert lines[0].startswith("proximal, seed 1: begun anew, as ")
    assert numbers(result, *MEASURED) == numbers(expected, *MEASURED)
    assert len(kept(run(study, out=tmp_path, **few, **changes)[1])) == 1


def test_what_an_object_does_not_say_of_itself_is_seen_too(tmp_path):
    def settings(penalty, optimizer):
        return Setup(
            {"train": PARTS[:2]}, ["proximal"], loss=None, penalty=penalty, methods=["proximal"],
            hidden=(), activation="relu", dtype="float64", optimizer=optimizer, epochs=2,
            batch_size=10, seeds=[0],
        ).told()  # fmt: skip

    same = settings(Silent(0.1), tr.SGD(lambda step: 0.1))
    assert settings(Silent(0.1), tr.SGD(lambda step: 0.1)) == same
    assert settings(Silent(0.2), tr.SGD(lambda step: 0.1)) != same
    assert settings(Silent(0.1), tr.SGD(lambda step: 0.1 + (step == 7))) != same  # the last of 8


@every
def test_fresh_begins_anew(study, tmp_path):
    run(study, out=tmp_path)
    result, lines = run(study, out=tmp_path, fresh=True)
    assert kept(lines) == []
    again, lines = run(study, out=tmp_path)
    assert len(kept(lines)) == 4
    assert numbers(again) == numbers(result)
    with pytest.raises(ValueError, match="fresh goes with out"):
        run(study, fresh=True)


@pytest.mark.parametrize(
    ("study", "content"),
    [
        *(("comparison", how) for how in ("nothing", "half", "a bit", "another file")),
        *((study, "other fields") for study in STUDIES),
    ],
)
def test_a_run_that_was_damaged_is_made_anew(study, content, tmp_path):
    expected, _ = run(study, out=tmp_path)
    path = tmp_path / "runs" / f"{study}-proximal-0.npz"
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 1
    path.write_bytes({"nothing": b"", "half": whole[: len(whole) // 2]}.get(content, damaged))
    if content == "another file":
        tr.MLP((2, 2)).save(path)
    if content == "other fields":
        settings = read_arrays(tmp_path / "runs" / f"{study}-proximal-1.npz", KIND, ["settings"], 1)
        write_arrays(path, KIND, 1, **settings, content=b'[{"a": 1}]', params=np.zeros(3))
    result, lines = run(study, out=tmp_path)
    assert lines[2 if study == "path" else 1].startswith(
        f"proximal, seed 0: begun anew, as {path} is damaged: "
    )
    assert len(kept(lines)) == 3
    assert numbers(result, *MEASURED) == numbers(expected, *MEASURED)
    assert len(kept(run(study, out=tmp_path)[1])) == 4


def test_a_run_of_an_earlier_version_is_made_anew_and_not_called_damaged(tmp_path):
    run("comparison", out=tmp_path)
    path = tmp_path / "runs" / "comparison-proximal-0.npz"
    saved = read_arrays(path, KIND, ["settings"], 1)
    settings = json.loads(saved["settings"].item())
    del settings["weight"]  # which there was not
    content = json.dumps({"method": "proximal"}).encode()
    settings = json.dumps(settings).encode()
    write_arrays(path, KIND, 1, settings=settings, content=content, params=np.zeros(3))
    _, lines = run("comparison", out=tmp_path)
    assert lines[1] == "proximal, seed 0: begun anew, as the settings are others"
    assert len(kept(lines)) == 3


@every
def test_a_folder_that_cannot_be_written_is_refused_before_any_work(study, tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "holds a file").mkdir()
    (tmp_path / "holds a file" / "runs").write_text("mine")
    before = files(tmp_path)
    lines = []
    for name in ("file", "holds a file", "file/below"):
        with pytest.raises(ValueError, match=r"out must be a folder that can be written, got .*: "):
            run(study, out=tmp_path / name, progress=lines.append)
    with pytest.raises(TypeError, match="out must be the path of a folder, got int 3"):
        run(study, out=3, progress=lines.append)
    assert (files(tmp_path), lines) == (before, [])


@every
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a limit on files' sizes")
def test_a_full_disk_is_told_before_any_work_and_loses_nothing_later(study, whole, tmp_path):
    import resource

    def limited(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    lines = []

    def full_after_the_first(line):
        lines.append(line)
        if len(list((tmp_path / "runs").glob("*.npz"))) == 1:
            limited(100)

    try:
        limited(1000)
        with pytest.raises(ValueError, match=r"out must be a folder .*: File too large"):
            run(study, out=tmp_path, progress=lines.append)
        assert lines == []
        limited(soft)
        with pytest.raises(OSError, match=r"File too large: .*npz"):
            run(study, out=tmp_path, progress=full_after_the_first)
    finally:
        limited(soft)
    assert len(files(tmp_path)) == 1
    result, lines = run(study, out=tmp_path)
    assert len(kept(lines)) == 1
    assert numbers(result, *MEASURED) == numbers(whole[study], *MEASURED)


@every
def test_what_a_killed_process_was_writing_is_removed(study, tmp_path):
    old = [f".{study}-none-0.npz-0123456789abcdef.tmp", ".notes-0123456789abcdef.tmp", ".x.tmp"]
    (tmp_path / "runs").mkdir()
    for name in old:
        (tmp_path / "runs" / name).touch()
    run(study, out=tmp_path, seeds=(0,), methods=["proximal"])
    assert files(tmp_path) == sorted(f"runs/{n}" for n in [*old[1:], f"{study}-proximal-0.npz"])


def test_walks_are_kept_as_they_end_wherever_they_ran(whole, tmp_path):
    with ThreadPoolExecutor(2) as executor:
        with pytest.raises(Cut):
            run("path", out=tmp_path, executor=executor, progress=cut_after(2))
        assert len(files(tmp_path)) == 2  # also the one whose news was cut off
        result, lines = run("path", out=tmp_path, executor=executor)
    assert len(kept(lines)) == 2
    assert numbers(result, *MEASURED) == numbers(whole["path"], *MEASURED)


def test_a_walk_that_broke_off_is_not_kept(tmp_path):
    changes = {"optimizer": tr.SGD(1e200), "seeds": (0,), "out": tmp_path}
    for _ in range(2):
        result, lines = run("path", **changes)
        assert len(result.failures) == 2
        assert kept(lines) == []
    assert files(tmp_path) == []


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_networks_and_full_batch_solvers_are_kept_too(dtype, tmp_path):
    changes = {"out": tmp_path, "dtype": dtype, "convergence": 3, "seeds": (1, 0)}
    first, _ = run("comparison", **changes)
    again, lines = run("comparison", **changes)
    assert len(lines) == len(kept(lines)) == 5
    assert numbers(again) == numbers(first)
    assert str(again) == str(first)
    for method, net in first.networks.items():
        np.testing.assert_array_equal(again.networks[method].params, net.params)
        assert again.networks[method].params.dtype == dtype
    other, lines = run("comparison", **changes | {"seeds": (0, 1)})  # which starts elsewhere
    assert len(kept(lines)) == 4
    assert numbers(other)["convergence"] != numbers(first)["convergence"]
    assert files(tmp_path)[0] == "runs/comparison-convergence-0.npz"
    assert len(files(tmp_path)) == 5


def test_two_studies_in_one_folder_leave_each_other_alone(tmp_path):
    for study in STUDIES:
        run(study, out=tmp_path)
    for study in STUDIES:
        run(study, out=tmp_path, seeds=(0,), fresh=True)
    assert [len(kept(run(study, out=tmp_path)[1])) for study in STUDIES] == [2, 2]
    assert len(files(tmp_path)) == 8
