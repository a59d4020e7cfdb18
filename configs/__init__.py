"""What to run: YAML files, and the code that reads them into typed, frozen settings."""
