"""The figures on the pages of `docs`, from the committed results."""
