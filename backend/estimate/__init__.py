"""What a load needs, against what is free now: arithmetic over headers and config.json, without torch."""
