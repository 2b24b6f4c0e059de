"""Which instances a retrieval means, a page at a time."""

from collections.abc import Iterator

from sqlalchemy import ColumnElement, and_, func, select

from gateway.dicom.query import Retrieval
from gateway.store.database import Database
from gateway.store.instances import Instance, instance_of
from gateway.store.schema import instances, series, studies

_PAGE_ROWS = 1000


class RetrievalIndex:
    """The current instances of the index, as C-MOVE, C-GET and WADO-RS ask for them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def count(self, retrieval: Retrieval) -> int:
        """Return how many instances a retrieval means now."""
        number = 0
        for part in self._parts(retrieval):
            statement = select(func.count()).where(part, instances.c.current)
            with self._database.reading() as connection:
                number += connection.execute(statement).scalar_one()
        return number

    def find(self, retrieval: Retrieval) -> Iterator[Instance]:
        """Yield the instances of a retrieval, series by series in order of arrival."""
        for part in self._parts(retrieval):
            yield from self._instances(part)

    def _parts(self, retrieval: Retrieval) -> Iterator[ColumnElement[bool]]:
        """Yield conditions on instances that have an index of their own each."""
        uids = retrieval.sop_instance_uids
        for series_instance_uid in self._series(retrieval):
            whole = instances.c.series_instance_uid == series_instance_uid
            if uids is None:
                yield whole
            else:
                for start in range(0, len(uids), _PAGE_ROWS):
                    some = instances.c.sop_instance_uid.in_(uids[start : start + _PAGE_ROWS])
                    yield and_(whole, some)

    def _series(self, retrieval: Retrieval) -> tuple[str, ...]:
        statement = (
            select(series.c.series_instance_uid)
            .join(studies, studies.c.study_instance_uid == series.c.study_instance_uid)
            .order_by(series.c.study_instance_uid, series.c.series_instance_uid)
        )
        if retrieval.patient_id is not None:
            statement = statement.where(studies.c.patient_id == retrieval.patient_id)
        if retrieval.study_instance_uids is not None:
            own = studies.c.study_instance_uid.in_(retrieval.study_instance_uids)
            statement = statement.where(own)
        if retrieval.series_instance_uids is not None:
            own = series.c.series_instance_uid.in_(retrieval.series_instance_uids)
            statement = statement.where(own)
        with self._database.reading() as connection:
            return tuple(connection.execute(statement).scalars())

    def _instances(self, part: ColumnElement[bool]) -> Iterator[Instance]:
        statement = (
            select(instances)
            .where(part, instances.c.current)
            .order_by(instances.c.id)
            .limit(_PAGE_ROWS)
        )
        last = 0
        while True:
            with self._database.reading() as connection:
                page = connection.execute(statement.where(instances.c.id > last)).mappings().all()
            yield from map(instance_of, page)
            if len(page) < _PAGE_ROWS:
                return
            last = page[-1]["id"]
