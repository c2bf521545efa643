"""The plan document of a sweep of many runs, by columns."""
