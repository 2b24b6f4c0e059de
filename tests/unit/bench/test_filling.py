"""A filled index is one that a node of this version made of that many instances."""

from collections.abc import Iterator

import pytest
from sqlalchemy import func, select

from gateway.dicom.uids import is_uid
from gateway.store.database import REVISION, Database
from gateway.store.schema import instances, series, studies
from gateway.store.series import SeriesIndex, SeriesState
from tests.bench.filling import Filling, HeldStudy, fill

FILLING = Filling(instances=11_700)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """An index of 24 series, of which the last is a short one."""
    file = tmp_path_factory.mktemp("filled") / "index.sqlite"
    assert list(fill(file, FILLING)) == [20, 24]
    database = Database(f"sqlite:///{file}")
    yield database
    database.close()


def test_it_holds_the_studies_that_it_says(database: Database) -> None:
    joined = (
        select(studies.c.study_instance_uid, studies.c.patient_id, func.count())
        .join(series, series.c.study_instance_uid == studies.c.study_instance_uid)
        .join(instances, instances.c.series_instance_uid == series.c.series_instance_uid)
        .group_by(studies.c.study_instance_uid)
    )

    with database.reading() as connection:
        held = {
            HeldStudy(study_instance_uid=uid, patient_id=patient_id, instances=number)
            for uid, patient_id, number in connection.execute(joined)
        }

    assert held == set(FILLING.studies())
    assert sum(study.instances for study in held) == FILLING.instances
    assert len(held) == 12
    assert len({study.patient_id for study in held}) == 6


def test_every_series_of_it_is_complete_and_routed(database: Database) -> None:
    index = SeriesIndex(database)

    assert index.state_counts() == {**dict.fromkeys(SeriesState, 0), SeriesState.DONE: 24}
    assert index.unrouted() == ()


def test_its_uids_are_as_long_as_those_of_scanners(database: Database) -> None:
    with database.reading() as connection:
        uids = list(connection.execute(select(instances.c.sop_instance_uid)).scalars())

    assert len(set(uids)) == FILLING.instances
    assert all(map(is_uid, uids))
    assert {len(uid) for uid in uids} == {51, 52, 53}


def test_its_studies_differ_up_to_ten_million_instances() -> None:
    held = Filling(instances=10_000_000).studies()

    assert len({study.study_instance_uid for study in held}) == len(held) == 10_000


def test_a_node_of_this_version_takes_it_as_it_is(database: Database) -> None:
    database.upgrade()

    with database.reading() as connection:
        revision = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        faults = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        integrity = connection.exec_driver_sql("PRAGMA integrity_check").scalar()

    assert (revision, faults, integrity) == (REVISION, [], "ok")
