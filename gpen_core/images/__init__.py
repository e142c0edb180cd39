"""Pictures: from and to files, between the layouts of hosts and networks."""
