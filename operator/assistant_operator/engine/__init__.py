"""What drives the passes: the process, its frame, the watches and the queue."""
