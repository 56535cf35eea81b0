"""A loop that runs takes over the version that acts in its folder, and both go back on an alarm."""

from pathlib import Path

import numpy as np
import pytest

from palmar.robots.arm7 import arm7
from palmar.runtime.adaptation.following import Following
from palmar.runtime.adaptation.swapping import RollBack
from palmar.runtime.adaptation.versions import Versions
from palmar.runtime.loop import Subscriber, Tick, rollout
from palmar.runtime.mock import MockBody
from palmar.runtime.worker import Inline
from palmar.types import ActionChunk, Reason

ROBOT = arm7()


class Named:
    def __init__(self, where: str) -> None:
        self.name, self.interface = Path(where).name, ROBOT.interface(8)
        if (Path(where) / "broken").exists():
            self.name = "broken"

    def reset(self) -> None:
        """Nothing to forget."""

    def act(self, obs, prefix=None) -> ActionChunk:
        value = np.nan if self.name == "broken" else 0.0
        return ActionChunk(np.full((8, 7), value, np.float32), 0.1, obs.time)


def promoted(versions: Versions, broken: bool = False) -> str:
    where = versions.room()
    where.mkdir()
    if broken:
        (where / "broken").touch()
    name = versions.add(where.name, versions.current, {}, {"passed": True, "reasons": []})
    versions.promote(name)
    return name


@pytest.fixture
def versions(tmp_path: Path) -> Versions:
    (tmp_path / "source").mkdir()
    made = Versions(tmp_path / "versions")
    made.begin(tmp_path / "source", "shipped")
    return made


class At(Subscriber):
    def __init__(self, index: int, what) -> None:
        self.index, self.what = index, what

    def on_tick(self, tick: Tick) -> None:
        if tick.index == self.index:
            self.what()


def test_a_new_version_takes_over_in_the_loop(versions: Versions) -> None:
    following = Following(versions.root, load=Named)
    assert following.policy.version == "v000" and not following.look()
    promoted(versions)
    body = MockBody(ROBOT)
    rollout(body, Inline(following.policy), body.observe(), subscribers=[At(20, following.look)], timeout=1.0).check()
    assert following.policy.version == "v001" and following.policy.inner.name == "v001"


def test_the_folder_goes_back_with_the_loop(versions: Versions) -> None:
    following = Following(versions.root, load=Named)
    promoted(versions, broken=True)
    body, back = MockBody(ROBOT), RollBack(following.policy, told=following.rolled_back)
    rollout(body, Inline(following.policy), body.observe(), subscribers=[At(20, following.look), back], timeout=1.0)
    assert (
        following.policy.version == "v000" and versions.current == "v001"
    )  # no disk is waited for on the loop's thread
    assert not following.look() and versions.current == "v000"
    assert versions.history()[-1]["event"] == "rolled back" and "finite" in versions.history()[-1]["reason"]
    assert not following.look()


def test_what_cannot_be_loaded_is_left_alone(versions: Versions) -> None:
    def load(where: str) -> Named:
        if where.endswith("v001"):
            raise FileNotFoundError(2, "no such file", where)
        return Named(where)

    following = Following(versions.root, load=load)
    promoted(versions)
    assert not following.look() and following.policy.version == "v000" and not following.look()


def test_whatever_a_new_version_raises_at_its_first_answer_what_drives_goes_on(versions: Versions) -> None:
    class Picky(Named):
        def act(self, obs, prefix=None) -> ActionChunk:
            if self.name == "v001":
                raise RuntimeError("shapes do not fit")
            return super().act(obs, prefix)

    following = Following(versions.root, warm=MockBody(ROBOT).observe(), load=Picky)
    promoted(versions)
    assert not following.look() and following.policy.version == "v000"
    promoted(versions)
    assert following.look() and following.policy.version == "v002"


def test_a_version_that_comes_during_the_alarm_of_the_one_before_is_not_blamed(versions: Versions) -> None:
    following = Following(versions.root, load=Named)
    promoted(versions)
    following.look()
    promoted(versions)

    def loading(where: str) -> Named:  # v002 is being loaded when v001 raises an alarm
        following.policy.roll_back(Reason("test"))
        following.rolled_back(Reason("test"))
        return Named(where)

    following.load = loading
    following.look()
    assert versions.current == "v002" == following.policy.version
    assert all(e["event"] != "rolled back" for e in versions.history())


def test_two_alarms_lead_the_folder_back_twice(versions: Versions) -> None:
    following = Following(versions.root, load=Named)
    for _ in range(2):
        promoted(versions)
        following.look()
    for there in ("v001", "v000"):
        assert following.policy.roll_back(Reason("test"))
        following.rolled_back(Reason("test"))
        assert not following.look() and following.policy.version == there == versions.current


def test_a_folder_that_cannot_be_written_does_not_stop_the_robot(
    versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(reason: str, alarmed: str) -> str:
        raise OSError(28, "No space left on device")

    following = Following(versions.root, load=Named)
    promoted(versions, broken=True)
    really = following.versions.roll_back
    monkeypatch.setattr(following.versions, "roll_back", full)
    body, back = MockBody(ROBOT), RollBack(following.policy, told=following.rolled_back)
    end = rollout(
        body, Inline(following.policy), body.observe(), subscribers=[At(20, following.look), back], timeout=1.0
    )
    assert (
        end.reason == "timeout" and following.policy.version == "v000" and not following.look() and not following.look()
    )
    assert versions.current == "v001"
    monkeypatch.setattr(following.versions, "roll_back", really)
    assert not following.look() and versions.current == "v000"  # there is room again


def test_the_thread_looks_by_itself_and_ends(versions: Versions) -> None:
    import time

    with Following(versions.root, every=0.01, load=Named) as following:
        promoted(versions)
        until = time.monotonic() + 20
        while following.policy.version != "v001" and time.monotonic() < until:
            time.sleep(0.01)
    assert following.policy.version == "v001"


def test_the_thread_takes_the_folder_back_at_once_and_what_is_left_at_the_end(versions: Versions) -> None:
    import time

    with Following(versions.root, every=60.0, load=Named) as following:
        promoted(versions)
        following.look()
        following.policy.roll_back(Reason("test"))
        following.rolled_back(Reason("test"))
        until = time.monotonic() + 20
        while versions.current != "v000" and time.monotonic() < until:
            time.sleep(0.01)
        assert versions.current == "v000"
    promoted(versions)
    following.look()
    following.policy.roll_back(Reason("test"))
    following.rolled_back(Reason("test"))
    following.__exit__()
    assert versions.current == "v000"
