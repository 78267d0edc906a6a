"""Flags and steps that several commands share."""
