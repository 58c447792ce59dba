"""Study of the combined estimate (`auto`) on new questions, new surveys and new people."""
