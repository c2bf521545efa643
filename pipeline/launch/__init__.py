"""All packs of a plan: as Ray Tune trials on the devices there are, or one after another in this process.

Comes in: a spec, for what this machine can do (`planned`), then a results folder. Goes out: commits of every pack, and
which packs failed.
"""
