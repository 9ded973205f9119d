"""Look at runs, curves and differences in a browser."""
