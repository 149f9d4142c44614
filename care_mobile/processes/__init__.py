"""What a command starts and leaves: its scratch folder, its processes, and how it is ended."""
