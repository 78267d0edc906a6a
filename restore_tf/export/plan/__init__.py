"""Plans which network fits into a frame's time, measured here or estimated from a device's TOPS."""
