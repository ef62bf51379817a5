"""Answers over HTTP: a network as a service."""
