"""Programs that are written from torch code: their graph, their text, and the programs."""
