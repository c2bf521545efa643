"""Where the files of packs and workers are kept: a folder of a POSIX file system, or a prefix of an object store.

Input: names and bytes. Output: `Files`, which the store of a pack and the leases of workers are written on.
"""
