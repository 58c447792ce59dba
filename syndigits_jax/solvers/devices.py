"""Work spread over several devices, by one mechanism: blocks of rows, a share for every device.

A `mesh` is JAX's own, `jax.make_mesh((8,), ("devices",))`, over the devices of one process or of
several (`jax.distributed`). Its first axis is used. Public functions check theirs with
[`as_mesh`][]. Every device runs the same loop over its own
blocks (folds, tiles of raters, rows of a distance matrix) and waits for no other; what the blocks
share is copied to all. `None` means one device, and no copy is made.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

Tree = TypeVar("Tree")


def as_mesh(mesh: Any) -> Mesh | None:
    """`mesh` with axes that the compiler spreads over, whatever type they have.

    `jax.make_mesh` makes axes of the type `Explicit` from JAX 0.9 on, which are part of the types
    of arrays: two arrays of different layouts could not be added.

    **Raises:** `ValueError` for what is no mesh.
    """
    if mesh is None:
        return None
    if not isinstance(mesh, Mesh):
        raise ValueError(
            f"`mesh` must be a jax.sharding.Mesh, such as jax.make_mesh((2,), ('devices',)), got "
            f"{mesh!r}"
        )
    return Mesh(mesh.devices, mesh.axis_names)


def devices_in(mesh: Mesh | None) -> int:
    """The number of devices over which rows are spread."""
    return 1 if mesh is None else mesh.shape[mesh.axis_names[0]]


def by_rows(mesh: Mesh, axis: int = 0) -> NamedSharding:
    """The layout in which an `axis` of an array is spread over the devices."""
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, mesh.axis_names[0]))


def copied(mesh: Mesh) -> NamedSharding:
    """The layout in which every device has the whole array."""
    return NamedSharding(mesh, PartitionSpec())


def everywhere(mesh: Mesh | None, tree: Tree) -> Tree:
    """Arrays, the same in every process, copied to every device."""
    if mesh is None:
        return tree
    layout = copied(mesh)

    def put(leaf: Any) -> Any:
        if not isinstance(leaf, jax.Array) or not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.device_put(leaf, layout)
        # JAX puts no typed key on the devices of another process.
        numbers = jax.device_put(jax.random.key_data(leaf), layout)
        return jax.random.wrap_key_data(numbers, impl=jax.random.key_impl(leaf))

    return jax.tree.map(put, tree)


def over_devices(mesh: Mesh | None, function: Callable[[Any], Any], blocks: Any) -> Any:
    """`function` of the blocks, of which every device has its share.

    **Arguments:**

    - `mesh`: devices; their number divides that of the blocks.
    - `function`: of arrays with a leading axis of blocks, to such arrays; each device's outputs are
      put one after the other. With a mesh, arrays that it needs besides are bound to it by
      `jax.tree_util.Partial`, and are the same on every device.
    - `blocks`: arrays with a leading axis of blocks.
    """
    if mesh is None:
        return function(blocks)
    rows = PartitionSpec(mesh.axis_names[0])
    return jax.shard_map(
        lambda function, blocks: function(blocks),
        mesh=mesh,
        in_specs=(PartitionSpec(), rows),
        out_specs=rows,
        check_vma=False,  # loops start from constants, which vary over no device
    )(function, blocks)


def to_host(mesh: Mesh | None, tree: Any) -> Any:
    """Arrays as NumPy's, in every process, wherever their parts are."""
    if mesh is not None and not copied(mesh).is_fully_addressable:
        tree = jax.jit(_same, out_shardings=copied(mesh))(tree)
    return jax.device_get(tree)


def in_charge(mesh: Mesh | None) -> bool:
    """Whether this process writes what all processes of a `mesh` have found."""
    return mesh is None or copied(mesh).is_fully_addressable or jax.process_index() == 0


def _same(tree: Any) -> Any:
    return tree
