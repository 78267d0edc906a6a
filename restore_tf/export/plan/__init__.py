"""What fits into a frame's time, measured here or by a device's rate."""
