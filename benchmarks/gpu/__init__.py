"""What `gpu_check.sh` does: every part in a process of its own, and all that they find in one JSON."""
