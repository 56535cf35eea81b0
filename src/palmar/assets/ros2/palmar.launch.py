"""The safety monitor and the policy node, for ros2 launch; the robot's drivers are started elsewhere.

ros2 launch PATH/TO/palmar.launch.py robot:=my_arm.toml policy:=ws://gpu:8000
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess
from launch.substitutions import LaunchConfiguration

PALMAR = ("python3", "-m", "palmar.cli")
ARGUMENTS = {
    "robot": ("", "Name of a robot that comes with palmar, or a robot file."),
    "policy": ("shipped", "As of palmar run; ws://HOST:PORT where this Python has no torch."),
    "body": ("ros2:", "Topics that are not the usual ones: ros2:joint_states=/a,CAMERA=/b/image_raw."),
    "joint_states": ("/joint_states", "For the monitor; the same as in body, or it stops the robot."),
    "joint_commands": ("/joint_commands", "For the monitor; the same as in body, or it stops the robot."),
    "rate": ("10.0", "Commands a second."),
}


def generate_launch_description() -> LaunchDescription:
    given = {name: LaunchConfiguration(name) for name in ARGUMENTS}
    monitor = [*PALMAR, "ros2-monitor", "--robot", given["robot"]]
    monitor += ["--joint-states", given["joint_states"], "--joint-commands", given["joint_commands"]]
    node = [*PALMAR, "ros2", "--robot", given["robot"], "--policy", given["policy"], "--body", given["body"]]
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=value, description=words)
                if value
                else DeclareLaunchArgument(name, description=words)
                for name, (value, words) in ARGUMENTS.items()
            ),
            # a monitor that ends is started again: it says stopped as long as the E-STOP is latched
            ExecuteProcess(cmd=monitor, name="safety_monitor", output="screen", respawn=True),
            ExecuteProcess(cmd=[*node, "--rate", given["rate"]], name="palmar", output="screen"),
        ]
    )
