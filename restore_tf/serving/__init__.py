"""Serving an exported SavedModel: client, deployment files, and a stand-in server to try them."""
