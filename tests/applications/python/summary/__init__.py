"""Summaries of host names."""
