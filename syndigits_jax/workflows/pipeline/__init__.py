"""Pipelines: one configuration file leads from personas and questions to a report."""
