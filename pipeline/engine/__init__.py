"""One block: runs of equal shape, trained and evaluated side by side on one device.

Input: run states. Output: run states and metrics. The arithmetic is torch's, or a compiled program's.
"""
