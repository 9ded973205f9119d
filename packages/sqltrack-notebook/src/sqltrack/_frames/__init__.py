"""Share code between the modules for data frames."""
