"""When a person drives: gaps in their chunks are no second takeover."""

from dataclasses import dataclass

import pytest

from palmar.runtime.records.takeovers import Takeovers


@dataclass
class Chunk:
    intervention: bool


@dataclass
class Tick:
    time: float
    chunk: Chunk | None
    acting: bool = True


def play(drivers: str) -> tuple[Takeovers, list[int]]:
    """One letter a tick of 0.1 s: P a person's chunk, p theirs that has run dry, A the policy's, a likewise, - none at all."""
    hands, changes = Takeovers(), []
    hands.start(0.0)
    for i, letter in enumerate(drivers, 1):
        chunk = None if letter == "-" else Chunk(letter in "Pp")
        if hands.add(Tick(i / 10, chunk, letter.isupper())):  # type: ignore[arg-type]
            changes.append(i)
    return hands, changes


@pytest.mark.parametrize(
    ("drivers", "n", "changes", "seconds"),
    [
        ("AAAA", 0, [], 0.0), ("-aA-", 0, [], 0.0), ("AAPPPAA", 1, [3, 6], 0.3),
        ("AAPpPpPpP-PAA", 1, [3, 12], 0.9),  # a busy machine
        ("AAPPaaPPAA", 1, [3, 9], 0.6),  # the policy's chunk is there, and nothing of it was carried out
        ("PAPAP", 3, [1, 2, 3, 4, 5], 0.2), ("PPP", 1, [1], 0.2),
        ("PPpppppppp", 1, [1, 8], 0.1), ("PPpppppppPP", 2, [1, 8, 10], 0.2), ("PPppppP", 1, [1], 0.6),
    ],
)  # fmt: skip
def test_one_takeover_is_from_the_first_chunk_of_a_person_to_the_next_of_the_policy(
    drivers, n, changes, seconds
) -> None:
    hands, seen = play(drivers)
    assert (hands.n, seen) == (n, changes)
    assert hands.seconds == pytest.approx(seconds)


def test_counts_go_on_over_rollouts_whose_time_begins_again() -> None:
    hands, _ = play("AAPPP")
    assert hands.end() and not hands.end() and not hands.driving
    hands.start(0.0)
    for i in (1, 2):
        hands.add(Tick(i / 10, Chunk(True)))  # type: ignore[arg-type]
    assert hands.n == 2 and hands.seconds == pytest.approx(0.3)
