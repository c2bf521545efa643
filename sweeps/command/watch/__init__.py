"""`seedbed watch`: the page of a sweep, served to this machine alone and kept up with its commits."""
