"""Which feature of a data set is the state, the action, and each camera, whatever its author called them.

The rules, in this order:
- What `keys` names is taken.
- LeRobot's standard names win: `observation.state`, `action`.
- Else the one numeric feature whose last part (after the last `.` or `/`) is one of `STATES` or `ACTIONS`. Two such features
  are an error that lists them; no action is an error; no state means a set without a state (width 0).
- Every `video` or `image` feature of three channels is a camera; its name is the key without a leading `observation` and
  `images`. Depth (by its flag, one channel, or `depth` in its name) is never a camera unless `keys` names it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from palmar.data import format as fmt
from palmar.errors import BadFile, BadValue, UnknownName

STATES = (
    "state", "qpos", "proprio", "proprioception", "robot_state", "agent_pos",
    "joint_position", "joint_positions", "joint_pos", "joint_state", "joint_states",
)  # fmt: skip
ACTIONS = ("action", "actions")
LEADING = ({"observation", "observations", "obs"}, {"images", "image", "cameras", "rgb"})
KNOWN = {fmt.PRIVILEGED, fmt.REWARD, fmt.DONE, fmt.SUCCESS, fmt.INTERVENTION, *fmt.DEFAULTS}
PICTURES = ("video", "image")
NONE = "none"

Keys = Mapping[str, Any]
"""{"state": FEATURE, "action": FEATURE, "images": {CAMERA: FEATURE}}; each may be left out. "none" for a state: without one."""


@dataclass(frozen=True, slots=True)
class Roles:
    """state, action: keys of features; state None where the set has none. images: {camera: key}. ignored: {key: why}.
    notes: what was chosen by a rule other than the standard names, in sentences."""

    state: str | None
    action: str
    images: Mapping[str, str]
    ignored: Mapping[str, str]
    notes: tuple[str, ...] = ()

    @property
    def standard(self) -> dict[str, str]:
        """{key in the set: LeRobot's standard name for it} of the features with a role."""
        named = {} if self.state is None else {self.state: fmt.STATE}
        return named | {self.action: fmt.ACTION} | {key: fmt.IMAGES + cam for cam, key in self.images.items()}


def find(features: Mapping[str, fmt.Feature], keys: Keys | None = None, where: str = "the data set") -> Roles:
    """The roles of the features of info.json. where: how messages call the set.

    Raises `BadFile` when no feature, or more than one, could be the action (or the state), or two cameras have one name;
    `UnknownName` and `BadValue` when `keys` names something that is not there or cannot have that role.
    """
    keys = _checked(keys or {}, features)
    notes: list[str] = []
    state = keys.get("state") or _vector("state", fmt.STATE, STATES, features, where)
    action = keys.get("action") or _vector("action", fmt.ACTION, ACTIONS, features, where)
    if action is None:
        raise BadFile(
            f"{where} has no action: none of its features is called {' or '.join(ACTIONS)}. It holds {listed(features)}. "
            "Next: name it: --keys action=FEATURE (in Python keys={'action': 'FEATURE'})"
        )
    if state == NONE:
        state = None
        notes.append("no state, as keys say: it has width 0")
    elif state is None:
        notes.append(
            f"no state: no feature is called {fmt.STATE}, {', '.join(STATES[:3])} …, so the state has width 0 "
            "(name one: --keys state=FEATURE)"
        )
    ignored: dict[str, str] = {}
    images = keys["images"] if "images" in keys else _cameras(features, ignored, where)
    taken = {state, action, *images.values()}
    for role, key, usual in (("state", state, fmt.STATE), ("action", action, fmt.ACTION)):
        if key not in (None, usual):
            notes.append(f"{role} is feature '{key}'")
    notes += [f"camera '{cam}' is feature '{key}'" for cam, key in images.items() if key != fmt.IMAGES + cam]
    for key, feature in features.items():
        if key not in taken and key not in KNOWN and key not in ignored:
            ignored[key] = "not named in keys" if feature["dtype"] in PICTURES else "neither state, action nor camera"
    return Roles(state, action, images, {k: ignored[k] for k in features if k in ignored}, tuple(notes))


def parse_keys(words: Sequence[str]) -> dict[str, Any] | None:
    """Words of a command line, `state=KEY action=KEY images.CAMERA=KEY`, as `Keys`; None for no words. Raises `BadValue`."""
    out: dict[str, Any] = {}
    for word in words:
        role, equals, key = word.partition("=")
        head, _, camera = role.partition(".")
        if not equals or not key or head not in ("state", "action", "images") or (head == "images") != bool(camera):
            raise BadValue(
                f"--keys has '{word}'; expected state=FEATURE, action=FEATURE or images.CAMERA=FEATURE. "
                "Next: palmar inspect FOLDER, which lists the features"
            )
        place, name = (out.setdefault("images", {}), camera) if camera else (out, head)
        if name in place:
            raise BadValue(
                f"--keys names {role} twice, as '{place[name]}' and '{key}'; expected once. Next: one of them"
            )
        place[name] = key
    return out or None


def listed(features: Mapping[str, fmt.Feature]) -> str:
    """'action float32[7], …' of every feature that is not one of LeRobot's own counters."""
    shown = [f"{k} {f['dtype']}{list(f['shape'])}" for k, f in features.items() if k not in fmt.DEFAULTS]
    return ", ".join(shown) or "no feature"


def camera_name(key: str) -> str:
    """'front' of 'observation.images.front', 'images/front' or 'images.front'; 'image' of 'observation.image'."""
    parts = [p for p in re.split(r"[./]", key) if p]
    for leading in LEADING:
        if len(parts) > 1 and parts[0].lower() in leading:
            parts = parts[1:]
    return ".".join(parts)


def is_depth(key: str, feature: fmt.Feature) -> bool:
    """Whether a picture feature holds distances: it says so, or its name does."""
    info = feature.get("info") or feature.get("video_info") or {}
    flagged = any(info.get(flag) is True for flag in ("is_depth_map", "video.is_depth_map"))
    return flagged or "depth" in re.split(r"[./_\-]", key.lower())


def picture_size(key: str, feature: fmt.Feature) -> tuple[int, int, int]:
    """(height, width, channels) of a picture feature, stored channel-last or channel-first. Raises `BadFile`."""
    shape = [int(n) for n in feature["shape"]]
    if len(shape) == 2:
        shape.append(1)
    names = feature.get("names")
    names = [str(n).lower().rstrip("s") for n in names] if isinstance(names, list) and len(names) == 3 else []
    if len(shape) == 3 and min(shape) > 0:
        if sorted(names) == ["channel", "height", "width"]:
            by_name = dict(zip(names, shape, strict=True))
            if by_name["channel"] in (1, 3, 4):
                return by_name["height"], by_name["width"], by_name["channel"]
        if shape[2] in (1, 3, 4):
            return shape[0], shape[1], shape[2]
        if shape[0] in (1, 3, 4):
            return shape[1], shape[2], shape[0]
    raise BadFile(
        f"picture feature '{key}' has shape {list(feature['shape'])}; expected [height, width, 3] or [3, height, width]. "
        "Next: correct the shape in meta/info.json"
    )


def _vector(role: str, usual: str, names: Sequence[str], features: Mapping[str, fmt.Feature], where: str) -> str | None:
    """The feature with a role, None when there is none."""
    if usual in features and _numeric(features[usual]):
        return usual
    found = [k for k, f in features.items() if _numeric(f) and re.split(r"[./]", k)[-1].lower() in names]
    if len(found) > 1:
        raise BadFile(
            f"{where} has {len(found)} features that may be the {role}: {', '.join(found)}. It holds {listed(features)}. "
            f"Next: say which: --keys {role}={found[0]} (in Python keys={{'{role}': '{found[0]}'}})"
        )
    return found[0] if found else None


def _cameras(features: Mapping[str, fmt.Feature], ignored: dict[str, str], where: str) -> dict[str, str]:
    """{camera: key}; pictures that are no colour camera go to `ignored`."""
    images: dict[str, str] = {}
    for key, feature in features.items():
        if feature["dtype"] not in PICTURES:
            continue
        channels = picture_size(key, feature)[2]
        if is_depth(key, feature):
            ignored[key] = "depth, not a colour camera"
        elif channels not in (3, 4):
            ignored[key] = f"{channels} channel, not a colour camera"
        elif (cam := camera_name(key)) in images:
            raise BadFile(
                f"{where} has two cameras that would be called '{cam}': {images[cam]} and {key}. "
                f"Next: name them: --keys images.{cam}={images[cam]} images.OTHER={key}"
            )
        else:
            images[cam] = key
    return images


def _checked(keys: Keys, features: Mapping[str, fmt.Feature]) -> dict[str, Any]:
    """Every name is there and can have its role."""
    for role in keys:
        if role not in ("state", "action", "images"):
            raise UnknownName("role in keys", role, ("state", "action", "images"))
    images = dict(keys.get("images") or {})
    named = [(role, keys[role]) for role in ("state", "action") if keys.get(role)] + list(images.items())
    for role, key in named:
        if role == "state" and key == NONE:
            continue
        if key not in features:
            raise UnknownName("feature", str(key), features)
        feature, picture = features[key], role in images
        if picture != (feature["dtype"] in PICTURES) or not (picture or _numeric(feature)):
            wanted = "a video or image feature" if picture else "a vector of numbers"
            raise BadValue(
                f"keys name '{key}' as {role}, which is {feature['dtype']}{list(feature['shape'])}; expected {wanted}. "
                f"Next: one of {listed(features)}"
            )
        if picture and ("/" in role or role.startswith(".") or not role):
            raise BadValue(
                f"keys name a camera '{role}'; expected a name without '/', that does not begin with '.'. "
                "Next: another name, such as images.front=KEY"
            )
    return {r: keys[r] for r in ("state", "action") if keys.get(r)} | ({"images": images} if "images" in keys else {})


def _numeric(feature: fmt.Feature) -> bool:
    return str(feature["dtype"]).startswith(("float", "int", "uint")) and len(feature["shape"]) <= 2
