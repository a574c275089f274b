"""Procedural images of surfaces and their defects, for `sources/synthetic.py`."""
