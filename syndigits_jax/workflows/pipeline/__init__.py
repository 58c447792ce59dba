"""From personas and questions to a report, from one configuration file."""
