"""The web application: a page and an HTTP interface around the inference of `restore.py`."""
