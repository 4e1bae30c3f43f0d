"""Probes: what a net does, measured."""
