"""The fast forward pass of GPEN v1; README.md in this folder is the way in."""
