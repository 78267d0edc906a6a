"""What a run is: recipes, papers and the record of a run."""
