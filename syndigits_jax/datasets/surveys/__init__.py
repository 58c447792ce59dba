"""Surveys as survey tools keep them: Qualtrics, SPSS and Stata files."""
