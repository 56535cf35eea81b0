"""The data room: LeRobotDataset v3 written, read, mended, normalised and looked at.

format     names, paths and schemas of the format       writer      one durable file an episode
durable    staging, fsync, rename, lock                 consolidate many small files → few large ones, crash-safe
stats      the ten statistics of every feature          repair      mends what a crash left
video      encode, decode, stream copy, random access   reader      frames and windows as numpy
recorder   a rollout becomes an Episode                 cache       decoded frames beside the data set
normalize  vectors to unit scale and back               inspect     summary, table, HTML page
schema     what metadata may hold, checked at the door  paths       path templates, and only files inside the set
rows       meta/episodes                                survey      what the files hold, whatever metadata say
rebuild    info.json from the files                     mending     which episodes can be read, and where they lie
journal    changes that can be taken back               rewrite, recount: files and statistics made anew
progress   how far a long work is, on stderr
"""
