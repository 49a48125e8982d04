"""Where the words come from: a server, an engine in this process, or actors on a cluster."""
