"""The expected delay: a windowed percentile of consumed steps, without the first answer."""

from palmar.runtime.delay import Delay


def test_the_first_answer_is_left_out_and_before_that_it_is_assumed():
    delay = Delay(first=3)
    assert delay.steps == 3
    delay.consumed(99)
    assert delay.steps == 3
    delay.consumed(2)
    assert delay.steps == 2


def test_a_spike_counts_by_its_rank_and_leaves_with_the_window():
    delay = Delay(percentile=90, window=10)
    for steps in (0, *[4] * 9, 30):
        delay.consumed(steps)
    assert delay.steps == 4  # 9 of 10 were no longer
    delay.consumed(30)
    assert delay.steps == 30
    for _ in range(10):
        delay.consumed(5)
    assert delay.steps == 5
