"""lerobot 0.4.4 beside CPU torch: torchvision's wheel links CUDA, so its two operators are declared here.

Import this before lerobot. `run.sh` sets LD_LIBRARY_PATH to PyAV's FFmpeg for torchcodec.
"""

import torch

_library = torch.library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    _library.define(_name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
