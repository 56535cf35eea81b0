"""The page of a run or a policy server, in a browser: looks at it, stops it, drives it.

    loop → `RunPage` → `Link` ⇉ a process of its own: `Hub` → browsers
                              ⇇ stop, hold, go on, take over, keys, instructions

The page's process never has the robot: when it is slow, hangs or dies, the loop goes on at its own rate, and the robot is held.
"""
