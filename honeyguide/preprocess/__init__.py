"""From stored events to model inputs: selection, features, scalers."""
