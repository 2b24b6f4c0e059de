"""The series that a job takes: its own, or, of a model of several inputs, those of its study."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gateway.inference import Model
from gateway.store import Job, NodeStore, Series, SeriesState
from gateway.workflow.facts import facts_of
from gateway.workflow.inputs import Candidate, InputRules


@dataclass(frozen=True, kw_only=True, slots=True)
class JobInputs:
    """What was found for a job, the series of its rule first.

    ``chosen`` has Series Instance UIDs by the names of inputs, ``missing`` the names of those
    that the study does not have yet. ``study_revisions`` grows with each series that completes.
    """

    series: tuple[str, ...]
    chosen: Mapping[str, str]
    missing: tuple[str, ...] = ()
    study_revisions: int = 0

    @property
    def other_names(self) -> tuple[str, ...]:
        """The names of all inputs but the first."""
        return tuple(self.chosen)[1:]


class StudyInputs:
    """Finds the inputs of jobs among the series that are kept here."""

    def __init__(self, store: NodeStore) -> None:
        self._store = store

    def of(self, job: Job, model: Model) -> JobInputs:
        """Choose the inputs of a job, and note in the job which they are.

        Raises InputRefused where no choice can be right, ConfigurationInvalid where the model's
        conditions are broken, NotFound where the series is not known.
        """
        if not model.descriptor.inputs:
            return JobInputs(series=(job.series_instance_uid,), chosen={})
        study_instance_uid = self._store.series.get(job.series_instance_uid).study_instance_uid
        # Read before any of its series is looked at: one that completes meanwhile is news.
        study = self._store.series.of_study(study_instance_uid)
        rules = InputRules.of(model)
        possible = [
            one
            for one in study
            if one.modality in model.descriptor.modality
            or one.series_instance_uid == job.series_instance_uid
        ]
        choice = rules.choose(list(self._candidates(possible, rules)), job.series_instance_uid)
        self._store.jobs.took(job.id, choice.chosen)
        return JobInputs(
            series=tuple(choice.chosen.values()),
            chosen=choice.chosen,
            missing=choice.missing,
            study_revisions=sum(one.revision for one in study),
        )

    def _candidates(self, study: list[Series], rules: InputRules) -> Iterator[Candidate]:
        for one in study:
            yield Candidate(
                series_instance_uid=one.series_instance_uid,
                facts=facts_of(self._store, one, rules.tags),
                is_complete=one.state is not SeriesState.RECEIVING,
            )
