"""What two sides come to: the settled tree, and the names about which they disagree.

Names are merged by `registry.merging`. What that cannot see is looked at here: a token or a change that concepts of
different names share, which no tree may hold twice. A person's choices settle what is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, cast

from cns.templates import default_token, vector_tokens
from cns_cli.porcelain.combining.sides import Sides
from registry.errors import DeltaTaken, NameTaken, RegistryError, TokenTaken
from registry.merging import Conflict, merged_nouns, three_way
from registry.names import check_new_name
from registry.objects import Blob, Concept, Tree
from registry.repository import Repository
from registry.trees import check_tree, erased_in

Side = Literal["ours", "theirs"]


@dataclass(frozen=True)
class Choices:
    """How conflicts are to be settled.

    Attributes:
        ours: Names that stay as HEAD has them; `theirs`: names that become as the other side has them.
        rename: Name -> new name of the other side's concept, beside which HEAD's stays.
        favour: Which side settles what is not named; None: it stays a conflict.
    """

    ours: tuple[str, ...] = ()
    theirs: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    favour: Side | None = None

    @classmethod
    def of(
        cls,
        ours: Iterable[str] | None,
        theirs: Iterable[str] | None,
        rename: Iterable[str] | None,
        favour: str | None,
    ) -> Choices:
        """Return choices as they were typed, new names as `OLD=NEW`; None for what was not."""
        side = cast("Side | None", favour)
        return cls(tuple(ours or ()), tuple(theirs or ()), dict(text.split("=", 1) for text in rename or ()), side)

    def words(self) -> list[str]:
        """Return them as they are typed."""
        typed = [(f"--{side}", name) for side in ("ours", "theirs") for name in getattr(self, side)]
        typed += [("--rename", f"{old}={new}") for old, new in self.rename.items()]
        return [word for pair in [*typed, *([("-X", self.favour)] if self.favour else [])] for word in pair]


@dataclass(frozen=True)
class Dispute:
    """A name that is not settled, and why.

    Attributes:
        holder: Another name that has the same token or change, for which it is left out; None: the sides disagree
            about the name itself.
        renamable: Whether another name for the other side's concept would settle it.
    """

    name: str
    why: str
    holder: str | None = None
    renamable: bool = False


@dataclass(frozen=True)
class Settled:
    """The outcome; without disputes, `tree` is a model that can be committed.

    Attributes:
        unsolved: Nouns that no side erases together, with what stands in their place; the tree lacks their erasure.
    """

    tree: Tree
    disputes: tuple[Dispute, ...]
    unsolved: Mapping[str, str] = field(default_factory=dict)


class ChoiceMeaningless(RegistryError):
    """A choice cannot be followed: its name is in no conflict, is chosen twice, or the new name is taken."""

    def __init__(self, sides: Sides, name: str, why: str) -> None:
        self.name = name
        super().__init__(f"the choice about '{name}' has no meaning: {why}", f"cns {sides.kind} {sides.revision}")


def settle(repo: Repository, sides: Sides, choices: Choices) -> Settled:
    """Bring the two sides together.

    Raises:
        BaseDiffers: they stand on different base models. ComposeDiffers: prompts see other concepts of either.
        ErasuresDiffer: both erase a noun, and draw different things in its place.
        ChoiceMeaningless, BadName: a choice cannot be followed.
    """
    settling = _Settling(repo, sides, choices)
    for conflict in settling.merge.conflicts:
        if not settling.chosen(conflict.name, choices.favour):
            both = bool(conflict.ours and conflict.theirs)
            settling.disputes.append(Dispute(conflict.name, _why(conflict), renamable=both))
    while (shared := settling.shared()) is not None:
        settling.part(shared)
    for name in settling.left:
        known = ", ".join(sorted(settling.names)) or "none"
        raise ChoiceMeaningless(sides, name, f"it is in no conflict; expected one of: {known}")
    return Settled(settling.tree, tuple(settling.disputes), settling.unsolved)


def _why(conflict: Conflict) -> str:
    if len(conflict.bases) > 1:
        return "the merge bases disagree"
    if conflict.bases == (None,):
        return "both added it"
    return "both changed it" if conflict.ours and conflict.theirs else "changed and removed"


class _Settling:
    """One settling at work: `concepts` are settled so far, `left` the choices that no conflict has asked for yet."""

    def __init__(self, repo: Repository, sides: Sides, choices: Choices) -> None:
        self.repo, self.sides, self.favour = repo, sides, choices.favour
        self.ours, self.theirs = repo.tree_of(sides.ours), repo.tree_of(sides.theirs)
        self.merge = three_way([repo.tree_of(base) for base in sides.bases], self.ours, self.theirs)
        self.concepts = dict(self.merge.concepts)
        self.erasure, self.unsolved = self._erasure()
        self.left: dict[str, tuple[str, str]] = {}
        self.names: set[str] = set()
        self.disputes: list[Dispute] = []
        named = [(name, (side, "")) for side in ("ours", "theirs") for name in getattr(choices, side)]
        for name, choice in [*named, *((old, ("rename", new)) for old, new in choices.rename.items())]:
            if self.left.setdefault(name, choice) != choice:
                raise ChoiceMeaningless(sides, name, "there are two; expected one of --ours, --theirs, --rename")

    @property
    def tree(self) -> Tree:
        """What is settled so far, as a model."""
        return Tree(self.ours.base, self.concepts, self.merge.compose, self.erasure)

    def _erasure(self) -> tuple[str | None, dict[str, str]]:
        """The erasure of one of the sides or bases that erases what the sides come to; or that, where none does."""
        trees = [self.ours, self.theirs, *map(self.repo.tree_of, self.sides.bases)]
        sets = [erased_in(tree, self.repo.objects) for tree in trees]
        nouns = merged_nouns(sets[2:], sets[0], sets[1])
        known = [tree.erasure for tree, erased in zip(trees, sets, strict=True) if erased == nouns]
        return (known[0], {}) if known else (None, nouns)

    def chosen(self, name: str, favour: Side | None = None) -> bool:
        """Settle a name as it was chosen, or by the side to favour; False where there is neither."""
        self.names.add(name)
        how, new = self.left.pop(name, (favour, ""))
        if how is None:
            return False
        self._take(name, self.theirs if how == "theirs" else self.ours)
        if how == "rename":
            self._rename(name, new)
        return True

    def shared(self) -> NameTaken | TokenTaken | DeltaTaken | None:
        """Return what keeps two names from being in one model."""
        try:
            check_tree(self.tree, self.repo.objects)
        except (NameTaken, TokenTaken, DeltaTaken) as error:
            return error
        return None

    def part(self, shared: NameTaken | TokenTaken | DeltaTaken) -> None:
        """Settle two such names as it was chosen; else leave the other side's out, as a dispute."""
        pair = sorted((shared.name, str(shared.holder)))
        mine = next((one for one in pair if self.concepts[one] == self.ours.concepts.get(one)), pair[0])
        yours = pair[1] if mine == pair[0] else pair[0]
        before = dict(self.concepts)
        if not (self.chosen(yours) or self.chosen(mine)) and self.favour:
            self._take(*((yours, self.ours) if self.favour == "ours" else (mine, self.theirs)))
        if self.concepts == before:
            what = {TokenTaken: "token", DeltaTaken: "change"}.get(type(shared), "concept")
            self.disputes.append(Dispute(yours, f"has the {what} of {mine}", mine, what == "token"))
            self.concepts.pop(yours)

    def _take(self, name: str, side: Tree) -> None:
        self.concepts.pop(name, None)
        if name in side.concepts:
            self.concepts[name] = side.concepts[name]

    def _rename(self, name: str, new: str) -> None:
        if name not in self.theirs.concepts:
            why = "the other side has no such concept; expected --ours or --theirs"
            raise ChoiceMeaningless(self.sides, name, why)
        if new in {*self.concepts, *self.ours.concepts, *self.theirs.concepts}:
            raise ChoiceMeaningless(self.sides, name, f"the name '{new}' is taken; expected a new one")
        self.concepts[new] = renamed(self.repo, self.theirs.concepts[name], new)


def renamed(repo: Repository, concept_id: str, name: str) -> str:
    """Store a concept under another name, with that name's own token, and return its id; the weights are the same."""
    from cns import codec  # numpy: only where it is needed

    concept = repo.objects.get(concept_id, Concept)
    tokens = vector_tokens(default_token(check_new_name(name)), len(concept.tokens))
    rows = codec.decode_rows(repo.objects.get(concept.embedding, Blob).data, concept.tokens)
    data = codec.encode_rows({new: rows[old] for old, new in zip(concept.tokens, tokens, strict=True)})
    return repo.objects.put(replace(concept, name=name, tokens=tokens, embedding=repo.objects.put(Blob(data))))
