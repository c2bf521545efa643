"""The `seedbed` command, the sweep files that come with it, and the papers that it reproduces, a folder each."""
