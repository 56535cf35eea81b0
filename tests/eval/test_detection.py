"""Judging alarms at equal time: edges."""

import numpy as np

from palmar.eval.detection import same_step_auc


def test_steps_that_no_episode_reaches_count_for_nothing():
    scores, lengths, failed = np.array([[0.0, 1.0], [0.0, 0.0]]), np.array([2, 2]), np.array([True, False])
    assert same_step_auc(scores, lengths, failed, np.array([1, 2, 50])) == 1.0
    assert np.isnan(same_step_auc(scores, lengths, failed, np.array([50])))
