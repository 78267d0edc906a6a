"""Makes and checks OpenVINO files."""
