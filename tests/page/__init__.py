"""The page of a sweep: its data, its HTML, its server, and what a browser makes of it."""
