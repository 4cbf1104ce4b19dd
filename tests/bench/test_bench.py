"""``numba-lstm bench``: what it measures, what it leaves out, and the tables that it prints."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numba_lstm_cli.bench import demo_lines, lines
from numba_lstm_cli.main import cli
from numba_lstm_cli.table import table, three_digits
from numpy.typing import NDArray
from support.paths import ROOT

from numba_lstm.backends.cpu import threads
from numba_lstm.bench import demo, elsewhere, networks, peers, short, sizes
from numba_lstm.bench.network import Network, digits, made_up
from numba_lstm.bench.networks import this_project
from numba_lstm.bench.peers import plain_numba, pytorch
from numba_lstm.bench.problem import Problem

DATA = ROOT / "data" / "digits"
Array = NDArray[Any]


@pytest.fixture(autouse=True)
def threads_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore the number of threads, which the measurements set."""
    monkeypatch.setattr(threads, "_number", None)


def bench(*words: str) -> str:
    """The command's stdout."""
    result = CliRunner().invoke(cli, ["bench", *words])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("bench_at_once")
def test_the_short_form() -> None:
    found = json.loads(bench("--json", "--threads", "1"))
    assert (found["threads"], found["left_out"]) == (1, {})
    assert [entry["shape"] for entry in found["shapes"]] == [[1, 9, 4, 16], [3, 5, 4, 16]]
    for entry in found["shapes"]:
        (own,) = entry["libraries"]
        assert own["name"] == "numba_lstm" and 0 < own["min"] <= own["median"] and 0 < own["error"] < 1e-6
        batch, timesteps, *_ = entry["shape"]
        assert entry["steps_per_second"] == pytest.approx(batch * timesteps / own["min"])
        assert entry["gflops"] == pytest.approx(Problem(*entry["shape"]).flops / own["min"] / 1e9)
    (step,) = found["steps"]
    assert step["units"] == 16 and step["libraries"][0]["error"] < 1e-6
    text = list(lines(found | {"cpus_busy_elsewhere": 1.26}))
    assert text[0] == f"{found['cpu']['name']}, 1 thread; float32, sigmoid and tanh"
    assert text[2].startswith("1, 9, 4, 16 ")
    assert text[-1] == "other processes kept 1.3 CPUs busy meanwhile: on a quiet machine these figures are others"


@pytest.mark.usefixtures("bench_at_once")
def test_peers_that_are_missing_or_broken_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "broken_library.py").write_text("raise AttributeError('no such symbol')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(short, "PEERS", ("pytorch", "plain_numba"))
    monkeypatch.setattr(pytorch, "IMPORTS", ("no_such_library",))
    monkeypatch.setattr(plain_numba, "IMPORTS", ("broken_library",))
    text = bench("--peers")
    assert "left out: torch: no_such_library is not installed\n" in text
    assert "left out: 20 lines of numba: it fails when imported: no such symbol\n" in text


@pytest.mark.usefixtures("bench_at_once")
def test_a_peer_that_fails_does_not_cost_the_others_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise MemoryError("no room")

    monkeypatch.setattr(short, "PEERS", ("plain_numba",))
    monkeypatch.setattr(plain_numba, "sequence", fail)
    monkeypatch.setattr(plain_numba, "stepper", fail, raising=False)
    result = CliRunner().invoke(cli, ["bench", "--peers"])
    assert result.exit_code == 0
    assert "left out at 1, 9, 4, 16: 20 lines of numba: no room\n" in result.stderr
    assert "left out: 20 lines of numba: no room\n" in result.stderr
    assert "20 lines" not in result.stdout


def test_ratios_stand_beside_our_own_time() -> None:
    def entry(own: float, other: float) -> dict[str, Any]:
        names = {"numba_lstm": own, "torch": other}
        each = [{"name": name, "min": time, "median": 2 * time, "error": 1e-7} for name, time in names.items()]
        return {"libraries": each}

    found = {
        "cpu": {"name": "A CPU"},
        "threads": 2,
        "versions": {"torch": "2.13"},
        "shapes": [entry(1e-3, 2.5e-3) | {"shape": [1, 2, 3, 4], "gflops": 12.34, "steps_per_second": 2e6}],
        "steps": [entry(2e-6, 1e-6) | {"units": 64}],
        "left_out": {},
        "cpus_busy_elsewhere": None,
    }
    text = list(lines(found))
    assert text[0] == "A CPU, 2 threads; float32, sigmoid and tanh"
    assert text[2].split()[-4:] == ["1.00", "12.3", "2.00", "2.50x"]
    assert text[5].split() == ["64", "units,", "session.step", "2.00", "4.00", "0.500x"]
    assert text[-1] == "torch 2.13"


@pytest.mark.usefixtures("bench_at_once")
def test_the_demonstration() -> None:
    found = json.loads(bench("--demo", "--json"))
    (own,) = found["rows"]
    assert own["name"] == "numba_lstm" and own["answers"] == 1 and own["error"] < 1e-6
    assert own["bytes"] > 10e6 and own["step"] > 0 and own["command"] > 0
    text = list(demo_lines({**found, "left_out": {"torch": "torch is not installed"}}))
    assert text[0].endswith(f"softmax over 10 classes: {found['network']}")
    assert text[1].split() == ["error", "answers", "step,", "us", "command,", "s", "installed,", "MB"]
    assert text[2].split()[:3] == ["numba_lstm", f"{own['error']:.1e}", "1"]
    assert text[-1] == "left out: torch: torch is not installed"


def test_the_demonstration_takes_no_threads_and_no_peers() -> None:
    for word in (["--peers"], ["--threads", "2"]):
        result = CliRunner().invoke(cli, ["bench", "--demo", *word])
        assert result.exit_code == 2
        assert "--demo takes all libraries and one thread; leave out --peers and --threads" in result.stderr


@pytest.mark.usefixtures("bench_at_once")
def test_libraries_of_the_demonstration_may_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(network: Network) -> Any:
        raise MemoryError("no room")

    def add(name: str, **others: Any) -> None:
        library = SimpleNamespace(**{**vars(this_project), "NAME": name, "__name__": f"networks.{name}", **others})
        monkeypatch.setitem(sys.modules, f"{networks.__name__}.{name}", library)

    add("one", run_of=fail)
    add("two", SCRIPT="raise SystemExit('no such file')")
    add("three", run_of=lambda network: lambda x: np.full((len(x), 10), 0.5))
    monkeypatch.setattr(networks, "MODULES", ("one", "two", "three", "this_project"))
    result = CliRunner().invoke(cli, ["bench", "--demo"])
    assert result.exit_code == 0, result.output
    assert "left out: one: it fails: no room\n" in result.stdout
    assert "left out: three: it fails: it differs from float64 by 0." in result.stdout
    assert "two: a command fails with exit code 1: no such file\n" in result.stderr
    row = next(line for line in result.stdout.splitlines() if line.startswith("two "))
    assert row.split()[4] == "fails"


def library(run: Callable[[Array], Array]) -> Any:
    """A library whose steps are those of a session of ours."""
    return SimpleNamespace(run_of=lambda network: run, stepper_of=this_project.stepper_of)


def test_different_answers_are_found() -> None:
    network = made_up("")
    run = this_project.run_of(network)
    ways = demo.five_ways(network, library(run))
    assert len(ways) == len(demo.WAYS) and demo.most_answers(ways) == 1
    # By batch size: alone and by steps as it is, two others a little larger, all rows larger still.
    ways = demo.five_ways(network, library(lambda x: run(x) + np.float32(1e-6) * min(len(x) - 1, 2)))
    assert demo.most_answers(ways) == 3
    # By the place in the batch.
    ways = demo.five_ways(network, library(lambda x: run(x) + np.float32(1e-6) * (np.arange(len(x)) == 5)[:, None]))
    assert demo.most_answers(ways) == 2
    assert 1e-6 < demo.error_of(ways[2], network) < 2e-6


def test_the_digits_are_those_of_the_repository() -> None:
    network = digits()
    assert network.source == f"trained, {DATA / 'model.h5'}"
    assert np.abs(network.truth - np.load(DATA / "y.npy")).max() < 1e-6


def test_the_digits_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As in a package that pip installed: no data/ beside it.
    monkeypatch.setattr("numba_lstm.bench.network.__file__", str(tmp_path / "a/b/c/network.py"))
    monkeypatch.chdir(tmp_path)
    assert digits().source == "random weights (data/digits, of a clone of the repository, is not here)"
    shutil.copytree(DATA, "data/digits")
    assert digits().source == f"trained, {Path('data/digits/model.h5')}"
    np.save("data/digits/x.npy", np.zeros((3, 4, 5)))
    place = Path("data/digits/model.h5")
    assert digits().source == f"random weights ({place} is not used: it is not the model of the repository)"
    place.write_bytes(b"not HDF5")
    assert digits().source.startswith(f"random weights ({place} is not used: ")


def test_sizes_are_of_all_that_pip_brings() -> None:
    numpy, numba, own = (sizes.installed([name]) for name in ("numpy", "numba", "numba_lstm"))
    assert numpy and numba and own
    assert 10e6 < numpy < numba < own < 2 * numba
    assert sizes.installed(["numba", "numpy"]) == numba  # numpy came with numba
    assert sizes.installed(["no-such-package", "numpy"]) == numpy
    assert sizes.installed(["no-such-package"]) is None


def test_nothing_reaches_stderr_meanwhile(capfd: pytest.CaptureFixture[str]) -> None:
    os.write(2, b"before\n")
    with peers.quiet():
        os.write(2, b"meanwhile\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "before\nafter\n"


def test_stderr_that_was_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with peers.quiet():
        pass


def test_what_ran_elsewhere() -> None:
    before = elsewhere.Elsewhere()
    time.sleep(0.3)  # the system counts hundredths of a second
    cpus = before.cpus()
    assert cpus is None or 0 <= cpus <= (os.cpu_count() or 1) + 1


def test_tables() -> None:
    assert list(table([["name", "ms"], ["a", "1.25"], ["b", ""]])) == ["name    ms", "a     1.25", "b"]
    assert [three_digits(x) for x in (0.1234, 1.234, 12.34, 1234.4)] == ["0.123", "1.23", "12.3", "1,234"]


@pytest.mark.oracle
@pytest.mark.filterwarnings("default")  # the libraries' own
@pytest.mark.parametrize("name", networks.MODULES)
def test_every_library_runs_the_network(name: str, tmp_path: Path) -> None:
    found, left_out = peers.load([name], networks.__name__)
    assert not left_out, f"{left_out}: this test is for an environment with all libraries"
    network = digits()
    for outputs in demo.five_ways(network, found[0]):
        assert demo.error_of(outputs, network) < (0.1 if name == "open_vino_as_it_comes" else 2e-6)
    commands = demo.whole_commands(network, found, print)
    assert commands[found[0].NAME] is not None
