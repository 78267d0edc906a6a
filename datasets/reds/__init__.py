"""REDS: clips of 100 frames blurred by averaging 120 fps video, 1280x720 (Nah et al. 2019)."""
