"""Helpers that several test modules use. Test modules import from here, never from each other."""
