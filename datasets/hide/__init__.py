"""HIDE: people in motion, 1280x720; its test split judges models trained elsewhere (Shen 2019)."""
