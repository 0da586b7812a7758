"""Manifests of captures, readers of other people's data, splits by subject, and the simulator."""
