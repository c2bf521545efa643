"""Von Oswald et al. (2023): sweeps, measurements, claims and figures."""
