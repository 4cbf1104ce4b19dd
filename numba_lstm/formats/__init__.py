"""Models and arrays from files, and back."""
