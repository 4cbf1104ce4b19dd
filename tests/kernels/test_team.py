"""How two threads meet and part: every answer, with the integers that they meet at in the hands of the test."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.plain_kernels import memory, plain

from numba_lstm.kernels.arguments import Team

HELPER = 16
ABSENT, WAITING, CLOSED = -1, -2, -3


@pytest.fixture
def progress() -> Any:
    numbers = np.zeros(32, np.int64)
    numbers[HELPER] = ABSENT
    return numbers


def team(progress: Any, leads: bool = False, patience: int = 3) -> Team:
    return Team(memory(progress), leads, patience, 1, None)


def test_the_protocol_has_these_numbers() -> None:
    module = plain("team")
    assert (module.HELPER, module.ABSENT, module.WAITING, module.CLOSED) == (HELPER, ABSENT, WAITING, CLOSED)
    assert len({module.BOTH_DONE, module.HELPER_LEFT, module.HELPER_MISSING}) == 3


@pytest.mark.parametrize(("state", "taken", "after"), [(WAITING, True, 14), (ABSENT, False, ABSENT), (6, False, 6)])
def test_the_leader_takes_in_who_waits(progress: Any, state: int, taken: bool, after: int) -> None:
    progress[HELPER] = state
    assert plain("team").take_in(team(progress, True), 7) == taken
    assert progress[HELPER] == after


def test_a_helper_arrives(progress: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module = plain("team")
    assert module.arrive(team(progress)) == -1 and progress[HELPER] == ABSENT  # nobody took it in
    monkeypatch.setattr(module, "pause", lambda: module.take_in(team(progress, True), 5))
    assert module.arrive(team(progress)) == 5 and progress[HELPER] == 10
    assert module.arrive(team(progress)) == -1 and progress[HELPER] == 10  # one is there already
    progress[HELPER] = ABSENT
    monkeypatch.setattr(module, "pause", lambda: module.close(team(progress, True)))
    assert module.arrive(team(progress)) == -1 and progress[HELPER] == CLOSED
    assert module.arrive(team(progress)) == -1 and progress[HELPER] == CLOSED


def test_a_step_of_both(progress: Any) -> None:
    """Announced by the helper, written down by both, and on to the next one."""
    module, leader, helper = plain("team"), team(progress, True), team(progress)
    progress[HELPER] = 2 * 4
    assert module.announce(helper, 4) and progress[HELPER] == 9
    progress[0] = 5  # the leader has done its blocks
    assert module.wait_for_leader(helper, 4)
    assert progress[HELPER] == 10 and module.done_by_helper(leader) == 5
    assert module.wait_for_helper(leader, 4) == module.BOTH_DONE and progress[0] == 5


def test_a_leader_goes_on_without_its_helper(progress: Any) -> None:
    """The helper cannot write down anything that it computes after that."""
    module = plain("team")
    progress[HELPER] = 2 * 4
    assert module.wait_for_helper(team(progress, True), 4) == module.HELPER_MISSING
    assert progress[HELPER] == ABSENT and not module.announce(team(progress), 4)


def test_a_leader_waits_for_what_is_being_written(progress: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module, rounds = plain("team"), []

    def write_down() -> None:
        rounds.append(progress[HELPER])
        if len(rounds) == 20:  # long after the leader's patience
            progress[HELPER] = 10

    progress[HELPER] = 9
    monkeypatch.setattr(module, "pause", write_down)
    assert module.wait_for_helper(team(progress, True), 4) == module.BOTH_DONE
    assert rounds == [9] * 20


def test_a_helper_leaves_a_leader_that_is_elsewhere(progress: Any) -> None:
    """It has done its blocks of the step, which the leader finds."""
    module = plain("team")
    assert not module.wait_for_leader(team(progress), 4)
    assert progress[HELPER] == ABSENT and progress[HELPER + 1] == 5
    leader = team(progress, True)
    assert module.wait_for_helper(leader, 4) == module.HELPER_LEFT
    assert module.wait_for_helper(leader, 5) == module.HELPER_MISSING


@pytest.mark.parametrize(
    ("t", "together", "helped", "steps"),
    [(0, False, False, 6), (95, False, False, 6), (96, False, False, 40), (0, True, False, 40), (96, True, True, 1)],
)
def test_sums_in_advance(progress: Any, t: int, together: bool, helped: bool, steps: int) -> None:
    """Few while the leader still looks for a helper, so that it looks often."""
    assert plain("team").steps_to_hoist(team(progress, True), t, 40, together, helped) == steps
    assert plain("team").steps_to_hoist(team(progress, True), t, 1, together, helped) == 1
