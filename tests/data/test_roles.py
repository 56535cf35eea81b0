import numpy as np
import pytest
from foreign import camera, vector
from hypothesis import given
from hypothesis import strategies as st

from palmar.data import format as fmt
from palmar.data.roles import camera_name, find, is_depth, parse_keys, picture_size
from palmar.errors import BadFile, BadValue, UnknownName

ONE = {"observation.state": vector(3), "action": vector(2), "observation.images.front": camera()}


@pytest.mark.parametrize("state", ["state", "observation.state", "observation/state", "qpos", "obs.robot.qpos"])
@pytest.mark.parametrize("action", ["action", "actions", "robot/actions"])
def test_usual_names_are_found(state, action):
    roles = find({state: vector(3), action: vector(2), "effort": vector(3), "note": vector(1, dtype="string")})
    assert (roles.state, roles.action, dict(roles.images)) == (state, action, {})
    assert set(roles.ignored) == {"effort", "note"}
    assert ("state is feature" in " ".join(roles.notes)) == (state != fmt.STATE)


@pytest.mark.parametrize(
    ("key", "name"),
    [("image", "image"), ("images.top", "top"), ("observation.image", "image"), ("observation.images.top", "top"),
     ("observation/image", "image"), ("observation/wrist_image", "wrist_image"), ("images/left/rgb", "left.rgb"),
     ("observation.image.side", "side"), ("rgb", "rgb"), ("cam_high", "cam_high")],
)  # fmt: skip
def test_cameras_are_called_by_what_sets_them_apart(key, name):
    assert camera_name(key) == name
    assert dict(find({**ONE, key: camera()}).images)[name] == key


def test_the_standard_name_wins_and_two_others_are_an_error_that_lists_them():
    assert find({**ONE, "qpos": vector(3), "actions": vector(2)}).state == "observation.state"
    with pytest.raises(
        BadFile,
        match=r"2 features that may be the state: state, qpos\. It holds state float32\[3\], .*Next: .*--keys state=state",
    ):
        find({"state": vector(3), "qpos": vector(3), "action": vector(2)})
    roles = find({"state": vector(3), "qpos": vector(4), "action": vector(2)}, {"state": "qpos"})
    assert roles.state == "qpos" and "state" in roles.ignored


def test_no_action_is_an_error_and_no_state_is_said():
    with pytest.raises(
        BadFile, match=r"has no action.*observation.state float32\[3\].*Next: name it: --keys action=FEATURE"
    ):
        find({"observation.state": vector(3), "command": vector(2)})
    assert find({"observation.state": vector(3), "command": vector(2)}, {"action": "command"}).action == "command"
    roles = find({"action": vector(2)})
    assert roles.state is None and "the state has width 0" in roles.notes[0]
    assert find(ONE, {"state": "none"}).state is None


def test_depth_and_grey_are_no_colour_cameras():
    features = ONE | {
        "observation.images.depth": camera(),
        "observation.images.flagged": camera(info={"video.is_depth_map": True}),
        "observation.images.flagged2": camera(info={"is_depth_map": True}),
        "observation.images.grey": {"dtype": "image", "shape": [48, 64, 1], "names": None},
    }
    roles = find(features)
    assert list(roles.images) == ["front"] and len(roles.ignored) == 4
    assert all("not a colour camera" in why for why in roles.ignored.values())
    assert find(features, {"images": {"d": "observation.images.depth"}}).images == {"d": "observation.images.depth"}
    assert not is_depth("in_depth_less", camera()) or is_depth("depth", camera())


def test_two_cameras_of_one_name_are_refused_by_name():
    with pytest.raises(
        BadFile, match=r"two cameras that would be called 'front': .*images.front=observation.images.front"
    ):
        find({**ONE, "images.front": camera()})


@pytest.mark.parametrize(
    ("shape", "names", "size"),
    [([48, 64, 3], None, (48, 64, 3)), ([3, 48, 64], None, (48, 64, 3)), ([48, 64], None, (48, 64, 1)),
     ([64, 48, 3], ["width", "height", "channel"], (48, 64, 3)), ([3, 48, 64], ["channels", "height", "width"], (48, 64, 3)),
     ([3, 3, 3], ["channels", "height", "width"], (3, 3, 3))],
)  # fmt: skip
def test_pictures_channel_last_and_channel_first(shape, names, size):
    assert picture_size("k", {"dtype": "image", "shape": shape, "names": names}) == size
    with pytest.raises(BadFile, match=r"picture feature 'k' has shape \[5, 48, 64\]; expected \[height, width, 3\]"):
        picture_size("k", {"dtype": "image", "shape": [5, 48, 64], "names": None})


@pytest.mark.parametrize(
    ("keys", "error"),
    [({"stat": "action"}, UnknownName), ({"state": "observation.stat"}, UnknownName),
     ({"state": "observation.images.front"}, BadValue), ({"images": {"a": "action"}}, BadValue),
     ({"images": {"a/b": "observation.images.front"}}, BadValue)],
)  # fmt: skip
def test_keys_that_cannot_be_are_refused(keys, error):
    with pytest.raises(error):
        find(ONE, keys)


def test_keys_from_the_command_line():
    words = ["state=qpos", "action=a=b", "images.front=x/y", "images.left.rgb=z"]
    assert parse_keys(words) == {"state": "qpos", "action": "a=b", "images": {"front": "x/y", "left.rgb": "z"}}
    assert parse_keys([]) is None
    for bad in ("state", "state=", "images=x", "image.front=x", "state.x=y", "=x"):
        with pytest.raises(
            BadValue, match=r"expected state=FEATURE, action=FEATURE or images.CAMERA=FEATURE. Next: palmar inspect"
        ):
            parse_keys([bad])
    with pytest.raises(BadValue, match="names state twice"):
        parse_keys(["state=a", "state=b"])


@given(st.lists(st.text("ab1_", min_size=1), min_size=1, max_size=9, unique=True), st.randoms())
def test_names_survive_every_form(names, random):
    feature = vector(len(names))
    nested, order = [names[:1], [names[1:]]], list(enumerate(names))
    random.shuffle(order)
    for form in (
        names,
        nested,
        {"motors": names},
        {"a": names[:1], "b": names[1:]},
        {n: i for i, n in order},
        tuple(names),
    ):
        assert fmt.names_of(feature | {"names": form}) == tuple(names)
    for lost in (None, [], names[1:], {"motors": None}):
        assert fmt.names_of(feature | {"names": lost}) == tuple(map(str, np.arange(len(names))))
