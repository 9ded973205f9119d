"""What the modules for data frames have in common."""
