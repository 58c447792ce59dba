"""One BLAS thread: in every library, those that JAX's programs call included."""

import concurrent.futures
import threading

from threadpoolctl import threadpool_info

from syndigits_jax.solvers.blas import one_blas_thread


def threads():
    return {each["filepath"]: each["num_threads"] for each in threadpool_info()
            if each["user_api"] == "blas"}  # fmt: skip


def test_every_library_has_one_thread_in_the_context_and_its_own_after_it():
    with one_blas_thread(False):  # loads the libraries
        before = threads()
    assert any("scipy" in path for path in before)
    with one_blas_thread():
        assert set(threads()) == set(before) and set(threads().values()) == {1}
    assert threads() == before


def test_of_contexts_that_overlap_the_last_to_end_lifts_the_limit():
    with one_blas_thread(False):
        before = threads()
    inside, out = threading.Barrier(2), threading.Event()

    def first():
        with one_blas_thread():
            inside.wait(60)
        out.set()

    def second():
        with one_blas_thread():
            inside.wait(60)
            assert out.wait(60)
            return threads()

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        pool.submit(first)
        assert set(pool.submit(second).result(60).values()) == {1}
    assert threads() == before
