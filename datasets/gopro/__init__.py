"""GoPro (GOPRO_Large): frames averaged from 240 fps video, 1280x720 (Nah et al. 2017)."""
