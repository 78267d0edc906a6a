"""In a checkout the data sets live in the top-level folder; the wheel puts them right here."""

from pathlib import Path

__path__.append(str(Path(__file__).parents[2] / "datasets"))
