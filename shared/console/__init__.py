"""What the console commands have in common."""
