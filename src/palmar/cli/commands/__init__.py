"""The commands as values: a field is an option, its docstring the help. Heavy rooms are entered only when a command runs."""

from collections.abc import Callable

from palmar.cli.commands.act import Demo, Run
from palmar.cli.commands.adapt import Adapt
from palmar.cli.commands.adr import Adr
from palmar.cli.commands.agent import Agent
from palmar.cli.commands.body import CheckBody
from palmar.cli.commands.calibrate import Calibrate
from palmar.cli.commands.certify import Certify
from palmar.cli.commands.chat import Chat
from palmar.cli.commands.data import Bag, Collect, Import, Inspect, Questions, Repair
from palmar.cli.commands.detect import Detect
from palmar.cli.commands.judge import Compare, Eval, Ground
from palmar.cli.commands.label import Label
from palmar.cli.commands.learn import Convert, Doctor, Models, Preflight, Train
from palmar.cli.commands.monitor import Monitor
from palmar.cli.commands.robots import Robot
from palmar.cli.commands.ros2 import Ros2, Ros2Monitor
from palmar.cli.commands.safety import EStop, Replay
from palmar.cli.commands.serve import Serve, ServeBody
from palmar.cli.commands.share import Pull, Push
from palmar.cli.commands.speed import Bench, Export
from palmar.cli.commands.sysid import SysId
from palmar.cli.commands.teach import ProgressCommand, StudentCommand, TeacherCommand
from palmar.cli.commands.transfer import Transfer
from palmar.cli.commands.translate import Translate
from palmar.cli.shared import Command

COMMANDS: dict[str, Callable[..., Command]] = {
    "run": Run, "check-body": CheckBody, "estop": EStop, "replay": Replay, "monitor": Monitor,
    "agent": Agent, "chat": Chat, "demo": Demo, "collect": Collect, "inspect": Inspect, "import": Import,
    "repair": Repair, "questions": Questions, "label": Label, "bag": Bag,
    "models": Models, "train": Train, "adapt": Adapt, "detect": Detect,
    "teacher": TeacherCommand, "student": StudentCommand, "progress": ProgressCommand,
    "eval": Eval, "ground": Ground, "compare": Compare, "sysid": SysId,
    "adr": Adr, "transfer": Transfer,
    "calibrate": Calibrate, "translate": Translate,
    "certify": Certify,
    "doctor": Doctor, "preflight": Preflight, "convert": Convert,
    "export": Export, "bench": Bench, "serve": Serve, "serve-body": ServeBody,
    "ros2": Ros2, "ros2-monitor": Ros2Monitor,
    "robot": Robot, "push": Push, "pull": Pull,
}  # fmt: skip
"""By the word on the command line."""

__all__ = [
    "COMMANDS", "Adapt", "Adr", "Agent", "Bag", "Bench", "Calibrate", "Certify", "Chat", "CheckBody", "Collect",
    "Compare", "Convert", "Demo", "Detect", "Doctor", "EStop", "Eval", "Export", "Ground", "Import", "Inspect", "Label",
    "Models", "Monitor", "Preflight", "ProgressCommand", "Pull", "Push", "Questions", "Repair", "Replay", "Robot",
    "Ros2", "Ros2Monitor", "Run", "Serve", "ServeBody", "StudentCommand", "SysId", "TeacherCommand", "Train",
    "Transfer", "Translate",
]  # fmt: skip
