"""A whole installation on one machine: private cluster, demo data."""
