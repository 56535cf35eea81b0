"""MJCF files: joints, actuators and what they say of limits, compiled by MuJoCo without shapes, meshes and inertias."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, tostring

import numpy as np

from palmar.description.gl import import_mujoco
from palmar.description.model import Description, Joint, Part, compiled, listed, tree_of
from palmar.description.xml import with_includes
from palmar.errors import BadFile
from palmar.kinematics import quat_to_matrix
from palmar.shapes import SIZES, ShapeKind

# What is kept of a file; the rest (shapes, assets, contacts, sensors, inertias) is nothing a robot file needs.
SECTIONS = ("compiler", "default", "worldbody", "tendon", "actuator", "equality", "keyframe")
ACTUATORS = ("general", "motor", "position", "velocity", "intvelocity", "damper")
KEPT = {
    "worldbody": {"body", "site", "frame", "replicate"},
    "body": {"body", "site", "frame", "replicate", "joint", "freejoint"},
    "frame": {"body", "site", "frame", "replicate", "joint", "freejoint"},
    "replicate": {"body", "site", "frame", "replicate"},
    "default": {"default", "joint", "site", "tendon", "equality", *ACTUATORS},
    "tendon": {"fixed"},
    "fixed": {"joint"},
    "actuator": set(ACTUATORS),
    "equality": {"joint"},
    "keyframe": {"key"},
}
COMPILER = ("angle", "autolimits", "eulerseq")
NAMES = ("name", "class", "childclass", "joint", "joint1", "joint2", "jointinparent", "tendon", "type")
MOST_COPIES = 200
SHAPED = ("worldbody", "body", "frame", "replicate", "default")
GEOM = (
    "name", "class", "type", "size", "pos", "quat", "axisangle", "xyaxes", "zaxis", "euler", "fromto", "contype", "conaffinity",
)  # fmt: skip
FLOOR, THICK = 2.0, 0.05  # half sides and half height of the box that stands for an endless plane [m]


def read_mjcf(root: Element, path: Path) -> Description:
    """What an MJCF says. Raises `BadFile` for one that does not compile, has ball joints, or names files outside its folder.

    Channels are the joints that actuators move, in the actuators' order (all hinges and slides when there are no
    actuators); position actuators narrow the range to their ctrlrange, velocity actuators make velocity channels, an
    actuator of a fixed tendon is one channel for the joints it pulls.
    """
    with_includes(root, path)
    shaped = copy.deepcopy(root)
    notes = _clean(root, path)
    model = compiled(tostring(root, encoding="unicode"), path)
    parts, left_out = _parts(shaped, path, model.nbody)
    mujoco = import_mujoco()
    kinds = mujoco.mjtJoint
    types = [int(t) for t in model.jnt_type]
    names = {
        k: model.joint(k).name or f"{model.body(int(model.jnt_bodyid[k])).name or 'body'}.joint{k}"
        for k in range(model.njnt)
    }
    if balls := [names[k] for k, t in enumerate(types) if t == int(kinds.mjJNT_BALL)]:
        raise BadFile(
            f"'{path}': {listed(balls)} {'is a ball joint' if len(balls) == 1 else 'are ball joints'}; a channel is one "
            "number. Next: write each as three hinges"
        )
    free = [
        model.body(int(model.jnt_bodyid[k])).name or names[k] for k, t in enumerate(types) if t == int(kinds.mjJNT_FREE)
    ]
    single = {k: n for k, n in names.items() if types[k] in (int(kinds.mjJNT_HINGE), int(kinds.mjJNT_SLIDE))}
    following = _equalities(model, single)
    joints, passive = _channels(model, single, following)
    if not joints:
        raise BadFile(
            f"'{path}' has no joint that can be commanded; expected hinges or slides. "
            "Next: a description of a robot that moves"
        )
    if free:
        notes.append(f"Held where the file puts them, since a free joint is no channel: {listed(free)}.")
    if following:
        notes.append(f"Follow other joints and are no channels: {listed(list(following))}.")
    if passive:
        notes.append(f"No actuator moves them, so they are no channels: {listed(passive)}.")
    moved = {n: "which no actuator moves" for n in passive} | following
    moved |= {m: f"which the tendon of '{j.name}' pulls" for j in joints for m in j.moves}
    name = root.get("model") or path.stem
    tree = tree_of(model, single)
    return Description(path, name, tuple(joints), tree, moved, tuple(notes), tuple(parts), tuple(left_out))


# ------------------------------------------------------------------------------------------------ the file


def _clean(root: Element, path: Path, shapes: bool = False) -> list[str]:
    """Remove all but kinematics, actuators and couplings (and shapes), in place. Returns what is worth a note."""
    notes = []
    found = {e.tag for e in root.iter()}
    if "attach" in found:
        raise BadFile(f"'{path}' attaches another model (<attach>); expected one file. Next: compile it and save that")
    if left := found & {"connect", "weld"}:
        notes.append(f"Closed loops and welds ({listed(sorted(left))}) are not followed.")
    if soft := found & {"composite", "flexcomp", "flex"}:
        notes.append(f"Soft parts are left out ({listed(sorted(soft))}).")
    if "spatial" in found:
        notes.append("Spatial tendons and their actuators are left out.")
    copies = 1
    for e in root.iter("replicate"):
        count = e.get("count", "")
        copies *= int(count) if count.isdecimal() and len(count) < 6 else MOST_COPIES + 1
        if copies > MOST_COPIES:
            raise BadFile(
                f"'{path}' replicates bodies {count[:20]} times; expected at most {MOST_COPIES} copies in all. "
                "Next: fewer copies"
            )
    for child in list(root):
        if child.tag not in SECTIONS:
            root.remove(child)
        elif child.tag == "compiler":
            child.attrib = {k: v for k, v in child.attrib.items() if k in COMPILER}
        else:
            _prune(child, shapes)
    compiler = Element("compiler", inertiafromgeom="false", boundmass="1", boundinertia="1", fusestatic="false")
    root.insert(0, compiler)
    fixed = {e.get("name") for s in root.findall("tendon") for e in s.findall("fixed")}
    for section in root.findall("actuator"):
        for a in list(section):
            by_joint = a.get("joint") or a.get("jointinparent")
            if not by_joint and a.get("tendon") not in fixed:
                section.remove(a)
                if a.get("tendon") is None:
                    notes.append(f"Actuator '{a.get('name', '')}' moves no joint and is left out.")
    if soft:
        for section in root.findall("keyframe"):
            root.remove(section)
    return notes


def _prune(element: Element, shapes: bool = False) -> None:
    kept = KEPT.get(element.tag, set()) | ({"geom"} if shapes and element.tag in SHAPED else set())
    for child in list(element):
        if child.tag not in kept:
            element.remove(child)
            continue
        if child.tag == "site":
            child.attrib.pop("material", None)
        elif child.tag == "key":
            child.attrib = {k: v for k, v in child.attrib.items() if k in ("name", "qpos")}
        elif child.tag in ACTUATORS:
            child.attrib.pop("plugin", None)
        for key, value in child.attrib.items():
            if key not in NAMES and any(
                word.lower().lstrip("+-") in ("nan", "inf", "infinity") for word in value.split()
            ):
                raise BadFile(
                    f'<{child.tag} {key}="{value[:60]}">: expected finite numbers. Next: mend that line of the file'
                )
        _prune(child, shapes)


# ------------------------------------------------------------------------------------------------ collision shapes


def _parts(root: Element, path: Path, bodies: int) -> tuple[list[Part], list[str]]:
    """The primitive shapes of the file that take part in contacts, and the names of other ones. All are other ones where the
    file does not compile with its shapes and without its assets."""
    left_out: list[str] = []
    for section in root:
        if section.tag in ("worldbody", "default"):
            _plain_geoms(section, left_out)
    named = [
        e.get("name") or f"{p.get('name', p.tag)}.{k}"
        for p in root.iter()
        if p.tag != "default"
        for k, e in enumerate(p.findall("geom"), 1)
    ]
    _clean(root, path, shapes=True)
    try:
        model = compiled(tostring(root, encoding="unicode"), path)
    except BadFile:
        return [], [*named, *left_out]
    if model.nbody != bodies:
        return [], [*named, *left_out]
    mujoco = import_mujoco()
    kinds: dict[int, ShapeKind] = {
        int(getattr(mujoco.mjtGeom, f"mjGEOM_{k.upper()}")): k for k in ("sphere", "capsule", "cylinder", "box")
    }
    parts = []
    for g in range(model.ngeom):
        if not model.geom_contype[g] and not model.geom_conaffinity[g]:
            continue
        body, type_ = int(model.geom_bodyid[g]), int(model.geom_type[g])
        name = model.geom(g).name or f"{model.body(body).name or 'body'}.{g - int(model.body_geomadr[body]) + 1}"
        pos, quat = np.array(model.geom_pos[g]), np.array(model.geom_quat[g])
        if type_ == int(mujoco.mjtGeom.mjGEOM_PLANE):  # a floor: a flat box below it
            half = [float(x) if x > 0 else FLOOR for x in model.geom_size[g][:2]]
            down = quat_to_matrix(quat)[:, 2] * THICK
            parts.append(Part(name, body, "box", (*half, THICK), pos - down, quat))
        elif type_ in kinds:
            size = tuple(float(x) for x in model.geom_size[g][: len(SIZES[kinds[type_]])])
            parts.append(Part(name, body, kinds[type_], size, pos, quat))
        else:
            left_out.append(name)
    return [p for p in parts if all(x > 0 for x in p.size)], left_out


def _plain_geoms(element: Element, left_out: list[str]) -> None:
    """Remove shapes that are made of other files, in place; of the others keep what says where and how large they are."""
    for k, child in enumerate([e for e in element if e.tag == "geom"], 1):
        if child.get("mesh") or child.get("hfield") or child.get("type") in ("mesh", "hfield", "sdf"):
            if element.tag == "default":
                element.remove(child)
                continue
            if child.get("contype") != "0" or child.get("conaffinity") != "0":
                left_out.append(child.get("name") or f"{element.get('name', element.tag)}.{k}")
            element.remove(child)
            continue
        child.attrib = {key: v for key, v in child.attrib.items() if key in GEOM}
    for child in element:
        _plain_geoms(child, left_out)


# ------------------------------------------------------------------------------------------------ the compiled model


def _equalities(model: Any, single: dict[int, str]) -> dict[str, str]:
    """{joint that an active equality constraint couples to another, or holds: why}."""
    mujoco = import_mujoco()
    driven = {int(model.actuator_trnid[a, 0]) for a in range(model.nu) if _by_joint(model, a)}
    following: dict[str, str] = {}
    for i in range(model.neq):
        if int(model.eq_type[i]) != int(mujoco.mjtEq.mjEQ_JOINT) or not model.eq_active0[i]:
            continue
        first, second = int(model.eq_obj1id[i]), int(model.eq_obj2id[i])
        if second < 0:
            following[single[first]] = "which an equality constraint holds"
            continue
        if first in driven and second not in driven:
            first, second = second, first
        if first in single and second in single:
            following[single[first]] = f"which follows joint '{single[second]}' (equality constraint)"
    return following


def _by_joint(model: Any, a: int) -> bool:
    mujoco = import_mujoco()
    return int(model.actuator_trntype[a]) in (int(mujoco.mjtTrn.mjTRN_JOINT), int(mujoco.mjtTrn.mjTRN_JOINTINPARENT))


def _channels(model: Any, single: dict[int, str], following: dict[str, str]) -> tuple[list[Joint], list[str]]:
    """What can be commanded, and the names of the joints that nothing moves."""
    of_joint: dict[int, list[int]] = {}
    order: list[tuple[str, int]] = []
    for a in range(model.nu):
        target = int(model.actuator_trnid[a, 0])
        kind = "joint" if _by_joint(model, a) else "tendon"
        if kind == "joint":
            of_joint.setdefault(target, []).append(a)
        if (kind, target) not in order:
            order.append((kind, target))
    if not order:
        order = [("joint", k) for k in single]
    out, pulled = [], set()
    for kind, target in order:
        if kind == "tendon":
            a = next(
                a for a in range(model.nu) if not _by_joint(model, a) and int(model.actuator_trnid[a, 0]) == target
            )
            joint = _tendon(model, a, target, single)
            out.append(joint)
            pulled |= set(joint.moves)
        elif target in single and single[target] not in following:
            out.append(_joint(model, target, single[target], of_joint.get(target, [])))
    out = [j for j in out if j.name not in pulled]
    named = {j.name for j in out} | pulled | set(following)
    return out, [n for n in single.values() if n not in named]


def _joint(model: Any, k: int, name: str, actuators: list[int]) -> Joint:
    mujoco = import_mujoco()
    slides = int(model.jnt_type[k]) == int(mujoco.mjtJoint.mjJNT_SLIDE)
    limited = bool(model.jnt_limited[k])
    lower, upper = map(float, model.jnt_range[k]) if limited else ((math.nan,) * 2 if slides else (-math.inf, math.inf))
    roles = {_role(model, a): a for a in reversed(actuators)}
    effort = _effort(model, k, actuators)
    if "velocity" in roles and "position" not in roles:
        a = roles["velocity"]
        low, high = map(float, model.actuator_ctrlrange[a]) if model.actuator_ctrllimited[a] else (math.nan,) * 2
        return Joint(name, "velocity", "m/s" if slides else "rad/s", low, high, max(abs(low), abs(high)), effort)
    if "position" in roles and model.actuator_ctrllimited[roles["position"]]:
        gear = float(model.actuator_gear[roles["position"], 0])
        ends = (
            sorted(float(x) / gear for x in model.actuator_ctrlrange[roles["position"]])
            if gear
            else [-math.inf, math.inf]
        )
        low, high = (ends[0], ends[1]) if math.isnan(lower) else (max(lower, ends[0]), min(upper, ends[1]))
        if low < high:
            lower, upper = low, high
    kind = "prismatic" if slides else "revolute" if math.isfinite(lower) and math.isfinite(upper) else "continuous"
    at = int(model.jnt_qposadr[k])
    home = float(model.key_qpos[_key(model), at]) if model.nkey else None
    return Joint(name, kind, "m" if slides else "rad", lower, upper, effort=effort, home=home)  # type: ignore[arg-type]


def _tendon(model: Any, a: int, t: int, single: dict[int, str]) -> Joint:
    """An actuator that pulls several joints at once, such as both fingers of a gripper, commanded in its own numbers."""
    mujoco = import_mujoco()
    first, count = int(model.tendon_adr[t]), int(model.tendon_num[t])
    wrapped = [int(k) for k in model.wrap_objid[first : first + count]]
    name = model.actuator(a).name or model.tendon(t).name or f"actuator{a}"
    lower, upper = map(float, model.actuator_ctrlrange[a]) if model.actuator_ctrllimited[a] else (math.nan, math.nan)
    slides = all(int(model.jnt_type[k]) == int(mujoco.mjtJoint.mjJNT_SLIDE) for k in wrapped)
    # An actuator that copies its command to the tendon's length is commanded in the joints' unit; the unit of another
    # one, such as 0 … 255, is its maker's.
    direct = _role(model, a) == "position" and np.isclose(model.actuator_gainprm[a, 0], -model.actuator_biasprm[a, 1])
    unit = ("m" if slides else "rad") if direct else ""
    return Joint(name, "opening", unit, lower, upper, moves=tuple(single[k] for k in wrapped if k in single))


def _role(model: Any, a: int) -> str:
    """What an actuator's control is: position, velocity or force. Its bias says so: -kp · position, -kv · velocity."""
    mujoco = import_mujoco()
    if int(model.actuator_biastype[a]) != int(mujoco.mjtBias.mjBIAS_AFFINE) or model.actuator_gainprm[a, 0] == 0:
        return "force"
    if model.actuator_biasprm[a, 1] != 0:
        return "position"
    return "velocity" if model.actuator_biasprm[a, 2] != 0 else "force"


def _effort(model: Any, k: int, actuators: list[int]) -> float:
    """The largest torque [N·m] or force [N] the file allows at a joint; NaN where it allows any."""
    bounds = []
    if model.jnt_actfrclimited[k]:
        bounds.append(float(np.abs(model.jnt_actfrcrange[k]).max()))
    for a in actuators:
        gear = abs(float(model.actuator_gear[a, 0]))
        if model.actuator_forcelimited[a]:
            bounds.append(float(np.abs(model.actuator_forcerange[a]).max()) * gear)
        elif _role(model, a) == "force" and model.actuator_ctrllimited[a]:
            bounds.append(float(np.abs(model.actuator_ctrlrange[a]).max() * abs(model.actuator_gainprm[a, 0])) * gear)
    least = min(bounds, default=math.nan)
    return least if least > 0 else math.nan


def _key(model: Any) -> int:
    """Index of the keyframe called home, the first otherwise."""
    return next((i for i in range(model.nkey) if model.key(i).name == "home"), 0)
