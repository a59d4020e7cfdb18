"""What a look at a training shows: a section each, on one page and in one JSON file."""
