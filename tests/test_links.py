"""The mechanics of a robot fit together by name, and a camera looks where it is told."""

import numpy as np
import pytest

from palmar.errors import BadValue
from palmar.links import Link, LinkJoint, Mechanics, Mount, Point, Servo, looking
from palmar.robots import mechanics, robot, robots

LINKS = (Link("a", joints=(LinkJoint("j"),)), Link("b", "a"))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"links": (Link("b", "a"),)}, "link 'b' hangs on 'a'; expected a link stated before it"),
        ({"servos": (Servo("c", ("k",), 1, 1, 1),)}, "a servo names 'k'; expected one of j"),
        ({"mounts": (Mount("c", "hand", (0, 0, 0), np.eye(3)),)}, "a camera mount names 'hand'"),
        ({"points": (Point("p", "hand"),)}, "a point names 'hand'; expected one of a, b"),
        ({"sensors": {"x": "k"}}, "a sensor names 'k'"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused(more, said):
    with pytest.raises(BadValue, match=said):
        Mechanics(**({"links": LINKS, "points": ()} | more))


def test_a_camera_looks_at_its_point():
    eye, at = (1.0, 2.0, 3.0), (0.5, 0.0, 0.0)
    R = looking(eye, at)
    assert pytest.approx(np.eye(3), abs=1e-12) == R.T @ R
    assert -R[:, 2] == pytest.approx((np.array(at) - eye) / np.linalg.norm(np.array(at) - eye))
    assert R[2, 1] > 0  # up is up


@pytest.mark.parametrize("name", robots())
def test_every_inertia_could_be_that_of_a_body(name):
    for link in mechanics(robot(name)).links:
        if not link.inertia:
            continue
        xx, yy, zz, xy, xz, yz = (*link.inertia, 0, 0, 0)[:6]
        moments = np.linalg.eigvalsh([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        assert link.mass > 0 and moments[0] > 0, link.name
        assert moments[2] <= moments[0] + moments[1] + 1e-9, link.name


def test_a_robot_without_mechanics_says_which_have_some():
    from dataclasses import replace

    with pytest.raises(BadValue, match=r"'mine' has no description for the simulator; there is one of arm7, "):
        mechanics(replace(robot("arm7"), name="mine"))
