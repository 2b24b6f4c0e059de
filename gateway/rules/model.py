"""The form of a rule file: what a rule may hold, as frozen pydantic models.

Words of the tests stay text here, as they are written; what they mean depends on the attribute
and is settled in `gateway.rules.checks`.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

PLANNED_KEYS: Final = frozenset(
    {
        *("discard", "fetch_priors", "notify"),
        *("series_description", "when_done"),
        *("fallback", "group", "prefer", "priority", "stop"),
    }
)
"""Keys of rules and actions that the language has room for and this version does not do."""


def _flag(value: object) -> bool:
    if value not in ("true", "false"):
        raise ValueError("must be true or false")
    return value == "true"


def _list_of_one(value: object) -> object:
    return [value] if isinstance(value, str | dict) else value


def _once(names: tuple[str, ...]) -> tuple[str, ...]:
    twice = next((name for number, name in enumerate(names) if name in names[:number]), None)
    if twice is not None:
        raise ValueError(f"`{twice}` is named twice")
    return names


Flag = Annotated[bool, BeforeValidator(_flag)]
Word = Annotated[str, Field(max_length=1024)]
Words = Annotated[tuple[Word, ...], Field(min_length=1)]
NodeNames = Annotated[Words, AfterValidator(_once)]


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AttributeTest(_Form):
    """What an attribute or fact is compared with; several keys must hold together.

    A plain word is short for ``equals``. ``some`` and ``share`` say in how many instances of
    the series the test must hold; otherwise it is in all.
    """

    equals: Word | None = None
    in_: Words = Field(default=(), alias="in")
    not_in: Words = ()
    matches: Word | None = None
    contains: Annotated[Words, BeforeValidator(_list_of_one)] = ()
    exists: Flag | None = None
    at_least: Word | None = None
    at_most: Word | None = None
    between: Annotated[Words, Field(min_length=2, max_length=2)] = ()
    before: Word | None = None
    after: Word | None = None
    some: Flag = False
    share: float | None = Field(default=None, gt=0, le=1)

    @model_validator(mode="before")
    @classmethod
    def _plain_word_is_equals(cls, value: Any) -> Any:
        match value:
            case str():
                return {"equals": value}
            case None:
                raise ValueError("a value is missing after the colon")
            case list():
                raise ValueError("a list needs a test: {in: [...]}, {contains: [...]}")
            case dict() if any(given is None for given in value.values()):
                raise ValueError("a value is missing after the colon of a test")
            case _:
                return value

    @model_validator(mode="after")
    def _is_one_test(self) -> "AttributeTest":
        given = self.model_fields_set - {"some", "share"}
        if not given:
            raise ValueError("nothing is tested; write a value or a test such as {in: [A, B]}")
        if self.exists is False and given != {"exists"}:
            raise ValueError("exists: false leaves nothing for other tests to look at")
        if self.some and self.share is not None:
            raise ValueError("`some` and `share` exclude each other")
        return self


class Condition(BaseModel):
    """Tests by the name of what they look at, and groups of conditions; all must hold."""

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, AttributeTest]

    all_of: tuple["Condition", ...] = Field(default=(), alias="all", min_length=1)
    any_of: tuple["Condition", ...] = Field(default=(), alias="any", min_length=1)
    none_of: Annotated[tuple["Condition", ...], BeforeValidator(_list_of_one)] = Field(
        default=(), alias="not", min_length=1, max_length=1
    )

    @property
    def tests(self) -> dict[str, AttributeTest]:
        """The tests, by keyword, tag or fact, in the order of the file."""
        return self.__pydantic_extra__

    @model_validator(mode="after")
    def _holds_something(self) -> "Condition":
        if not (self.all_of or self.any_of or self.none_of or self.tests):
            raise ValueError(
                "no condition is given; `when: {instances: {at_least: 1}}` takes every series"
            )
        return self


class Segment(_Form):
    """Run a model on the series and send its result to nodes."""

    model: Annotated[Word, Field(min_length=1)]
    send_to: NodeNames

    @property
    def kind(self) -> str:
        """The action's key in a rule file."""
        return "segment"

    @property
    def nodes_key(self) -> str:
        """The key under which the action names nodes."""
        return "send_to"

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes that get something from this action."""
        return self.send_to


class Forward(_Form):
    """Send the series to nodes: as it was received, or with its identity changed."""

    to: NodeNames
    deidentify: Literal["basic"] | None = None
    """The profile by which the series is de-identified before it is sent (PS3.15 annex E)."""
    reidentify: Flag = False
    """Whether pseudonyms of this node are replaced by what they stand for."""

    @model_validator(mode="after")
    def _goes_one_way(self) -> "Forward":
        if self.deidentify is not None and self.reidentify:
            raise ValueError("`deidentify` and `reidentify` exclude each other")
        return self

    @property
    def kind(self) -> str:
        """The action's key in a rule file."""
        return "forward"

    @property
    def nodes_key(self) -> str:
        """The key under which the action names nodes."""
        return "to"

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes that get something from this action."""
        return self.to


Action = Segment | Forward


class Step(_Form):
    """One item of ``then``: exactly one action under its key."""

    segment: Segment | None = None
    forward: Forward | None = None

    @model_validator(mode="after")
    def _is_one_action(self) -> "Step":
        if len(self.model_fields_set) != 1 or (self.segment or self.forward) is None:
            raise ValueError("an item of `then` is one action: segment: {...} or forward: {...}")
        return self

    @property
    def actions(self) -> tuple[Action, ...]:
        """The one action that the item names."""
        return tuple(action for action in (self.segment, self.forward) if action is not None)


class Rule(_Form):
    """One document of a rule file."""

    rule: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,79}$")
    description: str = ""
    enabled: Flag = True
    on_late: Literal["rerun", "ignore"] = "rerun"
    """What a new revision of a series gets, when late instances opened it again: everything once
    more, or nothing from a rule that ran for an earlier revision."""
    when: Condition
    then: tuple[Step, ...] = Field(min_length=1)

    @property
    def name(self) -> str:
        """The rule's name, one of a kind in its folder."""
        return self.rule

    @property
    def actions(self) -> tuple[Action, ...]:
        """What is done with a series that the rule takes, in order."""
        return tuple(action for step in self.then for action in step.actions)
