"""All that is wrong with a user's files, in one message."""

import contextlib
from collections.abc import Iterator


class ProblemsError(ValueError):
    """Bad input, with a line for each of its `problems`."""

    def __init__(self, problems: tuple[str, ...]):
        self.problems = problems
        many = f"{len(problems)} problems:\n" if len(problems) > 1 else ""
        super().__init__(many + "\n".join(problems))


class Problems:
    """Collects what is wrong, so that it is said at once.

    **Example:**

        >>> from syndigits_jax.workflows.problems import Problems
        >>> problems = Problems()
        >>> for text in ("1", "x", "y"):
        ...     with problems.collected():
        ...         number = int(text)
        >>> print(len(problems.found))
        2
    """

    def __init__(self) -> None:
        self.found: list[str] = []

    def say(self, problem: str) -> None:
        """Note a problem."""
        self.found.append(problem)

    @contextlib.contextmanager
    def collected(self) -> Iterator[None]:
        """Note a `ValueError` of the block, which ends it, and go on behind it."""
        try:
            yield
        except ProblemsError as error:
            self.found.extend(error.problems)
        except ValueError as error:
            self.found.append(str(error))

    def refuse(self) -> None:
        """**Raises:** [`ProblemsError`][] if there are any."""
        if self.found:
            raise ProblemsError(tuple(dict.fromkeys(self.found)))
