"""Very many pictures, on one machine or a cluster: restored once each, resumable at any point."""
