"""From gradient descent to Adam by Adam's eps: where the four phases of Huang, Cheng and Liang (2024) end."""
