"""The data room: LeRobotDataset v3 written, read, mended, normalised and looked at.

format     names, paths and schemas of the format       writer      one durable file an episode
durable    staging, fsync, rename, lock                 consolidate many small files → few large ones, crash-safe
stats      the ten statistics of every feature          repair      mends what a crash left
video      encode, decode, stream copy, random access   reader      frames and windows as numpy
recorder   a rollout becomes an Episode                 cache       decoded frames beside the data set
normalize  vectors to unit scale and back               inspect     summary, table, HTML page
progress   how far a long work is, on stderr
"""
