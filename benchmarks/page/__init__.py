"""The page of a sweep, measured in a browser: a sweep of 10,000 runs made without training, and times of the page."""
