"""Models: from a file of unknown content to a network with its descriptor, loaded once."""
