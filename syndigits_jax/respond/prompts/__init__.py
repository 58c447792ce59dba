"""How a question is put to a persona: templates and their rendering."""
