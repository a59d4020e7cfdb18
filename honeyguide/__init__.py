"""honeyguide: collision events to physics plots, with machine learning in between (the library; it knows no law)."""
