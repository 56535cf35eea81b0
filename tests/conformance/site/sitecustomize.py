"""lerobot 0.4.4 beside CPU torch in any process: declares torchvision's operators, as lerobot_shim.py does, when it is imported."""

import sys


class Declaring:
    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch

            self.library = torch.library.Library("torchvision", "DEF")
            for operator in ("nms", "qnms"):
                self.library.define(operator + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


declaring = Declaring()
sys.meta_path.insert(0, declaring)
