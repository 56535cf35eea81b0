"""A robot that speaks ROS 2: its messages, the body, the node's thread and what the safety monitor checks. `rclpy` is imported when
one of them is made, never before."""
