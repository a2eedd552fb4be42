import pickle

import pytest

from partywall import errors
from partywall.errors import ConfigError, DataFolderInUse, PartywallError, Problem, QuotaExceeded, RateLimited

EXAMPLES: dict[type[PartywallError], PartywallError] = {
    ConfigError: ConfigError("wrong", [Problem("plans.yaml", 3, 5, "no", "plans.free")]),
    QuotaExceeded: QuotaExceeded("full", quota="projects", current=3, limit=3, requested=1),
    errors.FeatureNotInPlan: errors.FeatureNotInPlan("no", feature="sso", plan="free"),
    errors.ReservationEnded: errors.ReservationEnded("again", state="committed"),
    RateLimited: RateLimited("wait", action="api", limit=5, retry_after=1.5),
    DataFolderInUse: DataFolderInUse("taken", pid=42),
}


def tree(cls: type[PartywallError] = PartywallError) -> list[type[PartywallError]]:
    return [cls, *(found for child in cls.__subclasses__() for found in tree(child))]


@pytest.mark.parametrize("cls", tree(), ids=lambda cls: cls.__name__)
def test_every_error_pickles_with_all_of_its_fields(cls: type[PartywallError]) -> None:
    error = EXAMPLES.get(cls) or cls("text")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is cls
    assert (copy.args, str(copy), copy.__dict__) == (error.args, str(error), error.__dict__)


def test_every_error_has_its_own_code_a_status_and_an_exit_code() -> None:
    codes = [cls.code for cls in tree()]
    assert len(set(codes)) == len(codes)
    for cls in tree():
        assert 400 <= cls.status <= 599
        assert 1 <= cls.exit_code <= 125
        assert cls.code == cls.code.lower()
        assert cls("x").problem_type.endswith(cls.code) if cls not in EXAMPLES else True


def test_the_tree_in_the_docs_is_the_tree() -> None:
    for cls in tree():
        assert cls.__name__ in (errors.__doc__ or "")


def test_a_config_error_tells_every_problem_with_its_place() -> None:
    assert "plans.yaml:3:5: no at plans.free" in str(EXAMPLES[ConfigError])
