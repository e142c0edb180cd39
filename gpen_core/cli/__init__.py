"""The command `gpen`: a module for each command, each calling one function of the core."""
