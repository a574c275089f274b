"""Procedural pictures of surfaces and their defects, for `sources/synthetic.py`."""
