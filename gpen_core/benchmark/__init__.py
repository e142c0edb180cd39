"""`gpen bench`: the network against its contenders, and the pipeline stage by stage."""
