"""What a session found, for people and programs: one view, several formats."""
