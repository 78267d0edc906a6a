"""The commands: `restore-tf <verb>`, and the scripts at the top of a checkout."""
