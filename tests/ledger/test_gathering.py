from __future__ import annotations

import pytest

from partywall.ledger._gathering import Gathering

FSYNC = 0.002


def test_a_caller_that_is_alone_is_never_kept_waiting() -> None:
    gathering = Gathering()
    for _ in range(5):
        assert gathering.expected == 1
        gathering.gathered(1)
        gathering.committed(1, 0, FSYNC)


def test_two_halves_that_take_turns_are_waited_for_together() -> None:
    gathering = Gathering()
    gathering.committed(8, 8, FSYNC)
    assert (gathering.expected, gathering.patience) == (16, FSYNC)
    gathering.gathered(16)
    gathering.committed(16, 0, FSYNC)
    assert (gathering.expected, gathering.patience) == (16, FSYNC)


def test_waiting_for_callers_that_do_not_come_back_is_soon_given_up_and_tried_again_when_they_do() -> None:
    gathering = Gathering()
    for _ in range(10):
        gathering.committed(2, 2, FSYNC)
        gathering.gathered(2)
    assert 0 < gathering.patience <= FSYNC / 64
    for _ in range(10):
        gathering.committed(2, 2, FSYNC)
        gathering.gathered(4)
    assert gathering.patience == FSYNC


@pytest.mark.parametrize("took", [0.0, FSYNC, 10.0])
def test_the_next_caller_is_waited_for_no_longer_than_a_commit_takes_or_than_5_ms(took: float) -> None:
    gathering = Gathering()
    gathering.committed(8, 8, took)
    assert gathering.patience <= min(took, 0.005)
