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
        self._absent: list[FileNotFoundError] = []

    def say(self, problem: str) -> None:
        """Note a problem."""
        self.found.append(problem)

    @contextlib.contextmanager
    def collected(self) -> Iterator[None]:
        """Note a `ValueError` or `FileNotFoundError` of the block, which ends it, and go on behind
        it."""
        try:
            yield
        except ProblemsError as error:
            self.found.extend(error.problems)
        except ValueError as error:
            self.found.append(str(error))
        except FileNotFoundError as error:
            self.found.append(str(error))
            self._absent.append(error)

    def refuse(self) -> None:
        """**Raises:** [`ProblemsError`][] if there are any; `FileNotFoundError` if that is all."""
        found = tuple(dict.fromkeys(self.found))
        if len(found) == len(self._absent) == 1:
            raise self._absent[0]
        if found:
            raise ProblemsError(found)
