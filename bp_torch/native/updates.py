"""Which operations of a recorded step are one loop: those that change parameters, element by element.

Where such a loop begins with a product's sums and nothing else reads them, it can run on each tile of the product while
that is at hand: the sums then never lie in memory as a matrix.
"""

from collections.abc import Sequence
from typing import NamedTuple

from torch.fx import Node

from bp_torch.native.operations import ELEMENTWISE, TRANSPOSES, UPDATES, aten
from bp_torch.native.record import arguments, kind, shape_of


class Update(NamedTuple):
    """Elementwise operations of one shape, and the copies into parameters that are all they are for, in their order.

    sums: δᵀa, or the sum of δ's rows, where they alone read it.
    """

    nodes: list[Node]
    sums: Node | None


def updates(nodes: Sequence[Node]) -> list[Update]:
    """The updates among a step's operations that may be computed where the last of each stands."""
    found: dict[Node, list[Node]] = {}
    position = {node: k for k, node in enumerate(nodes)}
    for node in reversed(nodes):
        copies = kind(node) == aten.copy_ and _shape_of_value(node) == shape_of(node)
        if copies and not node.users:
            found[node] = [node]
        elif (kind(node) in ELEMENTWISE or _is_sum(node)) and _are_of(node, found):  # all that use it are one update
            mine = [node] if kind(node) in ELEMENTWISE else list[Node]()
            for user in node.users:
                if found[user] is not mine:
                    mine += found[user]
                    found |= dict.fromkeys(found[user], mine)
            found |= dict.fromkeys(mine, mine)
    groups = {id(each): sorted(each, key=position.__getitem__) for each in found.values()}
    sums = {id(found[next(iter(node.users))]): node for node in nodes if _is_sum(node) and _are_of(node, found)}
    every = [Update(each, sums.get(key)) for key, each in groups.items()]
    return [each for each in every if _can_wait(each, nodes, position)]


def _shape_of_value(node: Node) -> tuple[int, int] | None:
    value = node.args[1]
    return shape_of(value) if isinstance(value, Node) else None


def _are_of(node: Node, found: dict[Node, list[Node]]) -> bool:
    """Whether all that use a node's result are in an update, of the result's shape."""
    return bool(node.users) and all(user in found and shape_of(user) == shape_of(node) for user in node.users)


def _is_sum(node: Node) -> bool:
    if kind(node) == aten.mm:
        return [kind(each) in TRANSPOSES for each in node.args if isinstance(each, Node)] == [True, False]
    return kind(node) == aten.sum and adds_rows(node) and not _is_folded(node.all_input_nodes[0])


def _is_folded(node: Node) -> bool:
    return kind(node) in ELEMENTWISE and len(node.users) == 1


def adds_rows(node: Node) -> bool:
    """Whether a sum is of a matrix's rows."""
    return arguments(node).get("dim") in ([-2], [0], (-2,), (0,)) and len(node.all_input_nodes[0].meta["shape"]) == 2


def _can_wait(update: Update, nodes: Sequence[Node], position: dict[Node, int]) -> bool:
    """Whether nothing in between changes what the update reads, or reads what it changes."""
    changed = {node.all_input_nodes[0] for node in update.nodes if kind(node) in UPDATES}
    read = _inputs(update.nodes)
    for node in nodes[position[update.nodes[0]] : position[update.nodes[-1]]]:
        if node in update.nodes:
            continue
        changes = {node.all_input_nodes[0]} if kind(node) in UPDATES else set[Node]()
        if not (changed.isdisjoint(_inputs([node])) and read.isdisjoint(changes)):
            return False
    return True


def _inputs(nodes: Sequence[Node]) -> set[Node]:
    """The inputs of the graph that these operations read: themselves, in a view, or through others of theirs."""
    read, seen, todo = set[Node](), set[Node](), list(nodes)
    while todo:
        node = todo.pop()
        for each in node.all_input_nodes:
            if each.op == "placeholder":
                read.add(each)
            elif each not in seen and kind(each) in {*ELEMENTWISE, *TRANSPOSES, aten.unsqueeze}:
                seen.add(each)
                todo.append(each)
    return read
