"""The landscape of an initialisation: which interactions of initial matrices decide when a run converges."""
