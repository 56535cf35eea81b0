"""What LeRobot does before and after the policy: rename, add a batch axis, move to the device. Numbers stay as they are, because
the policy normalises inside; the normalising steps are there for the overrides that LeRobot makes by their names."""

from typing import Any

from lerobot.processor import (
    AddBatchDimensionProcessorStep,
    DeviceProcessorStep,
    NormalizerProcessorStep,
    PolicyProcessorPipeline,
    RenameObservationsProcessorStep,
    UnnormalizerProcessorStep,
)
from lerobot.processor.converters import policy_action_to_transition, transition_to_policy_action
from lerobot.utils.constants import POLICY_POSTPROCESSOR_DEFAULT_NAME, POLICY_PREPROCESSOR_DEFAULT_NAME

from lerobot_policy_palmar.configuration_palmar import PalmarConfig


def make_palmar_pre_post_processors(
    config: PalmarConfig, dataset_stats: dict[str, Any] | None = None, dataset_meta: Any = None
) -> tuple[Any, Any]:
    """(before, after) the policy."""
    inputs, outputs, norms = config.input_features or {}, config.output_features or {}, config.normalization_mapping
    before = [
        RenameObservationsProcessorStep(rename_map={}),
        AddBatchDimensionProcessorStep(),
        DeviceProcessorStep(device=config.device),
        NormalizerProcessorStep(features={**inputs, **outputs}, norm_map=norms, stats=None, device=config.device),
    ]
    after = [
        UnnormalizerProcessorStep(features=outputs, norm_map=norms, stats=None),
        DeviceProcessorStep(device="cpu"),
    ]
    return (
        PolicyProcessorPipeline(steps=before, name=POLICY_PREPROCESSOR_DEFAULT_NAME),
        PolicyProcessorPipeline(
            steps=after,
            name=POLICY_POSTPROCESSOR_DEFAULT_NAME,
            to_transition=policy_action_to_transition,
            to_output=transition_to_policy_action,
        ),
    )
