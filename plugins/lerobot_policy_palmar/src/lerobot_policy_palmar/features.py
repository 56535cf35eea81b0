"""LeRobot's features and palmar's interface: one made from the other, and compared."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.utils.constants import ACTION, OBS_IMAGES, OBS_STATE

from lerobot_policy_palmar.configuration_palmar import PalmarConfig
from palmar.adapters.hosted import HostedModel
from palmar.data import format as fmt
from palmar.errors import BadFile, BadValue
from palmar.mapping import Interface
from palmar.models.presets import picture_side
from palmar.pictures import sizes_for
from palmar.train.scale import misfit


def described(features: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Names of a vector's dimensions in a data set's features; () where it is not there."""
    return fmt.names_of(features[key]) if key in features else ()


def interface_of(config: PalmarConfig, offsets: tuple[int, ...], meta: Any = None) -> Interface:
    """What a new model is built for: the features of the policy, with names, units and rate of the data set where there is one."""
    recorded = {fmt.camera_name(k): (int(f.shape[1]), int(f.shape[2])) for k, f in config.image_features.items()}
    sizes = sizes_for(recorded, config.image_size or picture_side(config.preset))
    names, units = {}, {}
    for key, feature in ((OBS_STATE, config.robot_state_feature), (ACTION, config.action_feature)):
        width = int(np.prod(feature.shape))
        names[key] = described(meta.features, key) if meta is not None else tuple(map(str, range(width)))
        units[key] = fmt.units_of(meta.features[key]) if meta is not None else ()
    return Interface(
        sizes, names[OBS_STATE], names[ACTION], config.chunk_size, 1.0 / (meta.fps if meta is not None else 10),
        embodiment=str((meta.robot_type if meta is not None else "") or ""), offsets=offsets, state_units=units[OBS_STATE],
        action_units=units[ACTION], recorded={c: (recorded[c],) for c, size in sizes.items() if size != recorded[c]},
    )  # fmt: skip


def features_of(interface: Interface) -> tuple[dict[str, PolicyFeature], dict[str, PolicyFeature]]:
    """(inputs, outputs) of a policy with this interface; pictures in the size they were recorded in."""
    inputs = {OBS_STATE: PolicyFeature(FeatureType.STATE, (len(interface.state_names),))}
    for camera, size in interface.cameras.items():
        height, width = (interface.recorded.get(camera) or (size,))[0]
        inputs[f"{OBS_IMAGES}.{camera}"] = PolicyFeature(FeatureType.VISUAL, (3, height, width))
    return inputs, {ACTION: PolicyFeature(FeatureType.ACTION, (len(interface.action_names),))}


def checked(config: PalmarConfig, interface: Interface, features: Mapping[str, Any] | None = None) -> None:
    """Give the policy the features of the interface where it has none yet. Raises `BadValue` where they do not fit: cameras,
    pictures, widths, and the names that the data set states."""
    inputs, outputs = features_of(interface)
    config.input_features, config.output_features = config.input_features or inputs, config.output_features or outputs
    config.validate_features()
    given = {fmt.camera_name(k): tuple(f.shape[1:]) for k, f in config.image_features.items()}
    for camera, size in interface.cameras.items():
        known = [tuple(size), *(tuple(s) for s in interface.recorded.get(camera, ()))]
        if given.get(camera) not in known:
            sizes = " or ".join("×".join(map(str, s)) for s in known)
            raise BadValue(
                f"the policy looks through camera '{camera}' of {sizes} px; the data set or environment has "
                f"{', '.join(f'{c} {h}×{w}' for c, (h, w) in given.items())}. Next: --rename_map, or data of that camera"
            )
    for key, names, width in (
        (OBS_STATE, interface.state_names, config.robot_state_feature.shape[0]),
        (ACTION, interface.action_names, config.action_feature.shape[0]),
    ):
        theirs = described(features, key) if features is not None else ()
        if width != len(names) or (theirs and theirs != names):
            raise BadValue(
                f"{key} has {width} numbers ({', '.join(theirs) or 'unnamed'}); the policy has {len(names)}: {', '.join(names)}. "
                "Next: a data set or an environment of that robot, with its channels in that order"
            )


def column(root: Path, key: str) -> np.ndarray | None:
    """float32[n, width] of every frame of a data set that lies in a folder; None where its files are elsewhere (streaming)."""
    import pyarrow.parquet as pq

    columns = []
    for path in sorted((root / "data").glob("*/*.parquet")):
        try:
            found = pq.read_table(path, columns=[key]).column(key).combine_chunks()
        except (OSError, ValueError, KeyError) as e:
            raise BadFile(f"'{path}' cannot be read ({str(e).splitlines()[0]}). Next: palmar repair {root}") from e
        columns.append(np.asarray(found.flatten(), np.float32).reshape(len(found), -1))
    return np.concatenate(columns) if columns else None


def check_scale(root: Path, hosted: HostedModel, begun_from: str) -> None:
    """Raise `BadValue` where the data are of another scale than the normalisers of the checkpoint that is gone on from."""
    for what, key, names in (
        ("state", OBS_STATE, hosted.interface.state_names),
        ("action", ACTION, hosted.interface.action_names),
    ):
        offset, scale = (getattr(hosted, f"{what}_{part}").double().numpy() for part in ("offset", "scale"))
        values = column(root, key)
        if values is not None and (wrong := misfit(names, offset, scale, values)):
            raise BadValue(
                f"the data are of another scale than checkpoint '{begun_from}' was trained on, whose normaliser is kept: {what}: "
                f"{wrong}. Next: convert the data, or train from a preset"
            )
