"""Pipelines: from personas and questions to a report, by one configuration file."""
