"""Many files: which pictures an input means, where each result goes, what happened to each."""
