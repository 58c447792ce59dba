"""New answers with their uncertainty: intervals and draws."""

from .intervals import question_intervals as question_intervals
