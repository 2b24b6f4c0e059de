"""Uploads: what a job goes on with after a crash, and how many import jobs run at once."""

import time
from dataclasses import replace

from gateway.store import Job, JobAction, JobState, NodeStore
from gateway.store.history import History
from gateway.store.uploads import UploadState


def queued(store: NodeStore, name: str = "a") -> Job:
    """Enter a job and return it as the index has it."""
    job = Job(
        id=name,
        series_instance_uid="2.25.2",
        revision=1,
        rule="r",
        action=JobAction.FORWARD,
        node="cloud",
    )
    store.jobs.add([job])
    return store.jobs.get(name)


def test_uploads_follow_each_other_under_names_of_their_own(store: NodeStore) -> None:
    job = queued(store)

    first = store.uploads.prepare(job, [{"1": "k1", "2": "k2"}, {"3": "k3"}])
    second = store.uploads.prepare(job, [{"4": "k4"}])

    assert [list(one.instances) for one in (*first, *second)] == [["1", "2"], ["3"], ["4"]]
    assert store.uploads.of_job(job) == (*first, *second)
    assert len({one.id for one in (*first, *second)}) == 3
    other = store.uploads.prepare(queued(store, "b"), [{"1": "k1", "2": "k2"}])
    assert other[0].id not in {one.id for one in first}


def test_what_was_answered_is_there_after_a_crash(store: NodeStore) -> None:
    job = queued(store)
    one, _ = store.uploads.prepare(job, [{"1": "k1"}, {"2": "k2"}])
    store.uploads.claim(one, 1)
    store.uploads.started(one, "fedc")
    store.uploads.answered(one, {"1": {"outcome": "stored"}})

    found, other = store.uploads.of_job(job)

    assert (found.state, found.import_job_id) == (UploadState.ANSWERED, "fedc")
    assert found.outcomes == {"1": {"outcome": "stored"}}
    assert other.state is UploadState.PREPARED
    store.uploads.settled(found)
    assert store.uploads.of_job(job)[0].state is UploadState.SETTLED


def test_a_job_that_a_person_starts_again_begins_anew(store: NodeStore) -> None:
    job = queued(store)
    [before] = store.uploads.prepare(job, [{"1": "k1"}])
    store.jobs.ended(job.id, JobState.DEAD)
    assert store.uploads.ended("cloud") == {before.id}
    store.jobs.retry(job.id)
    again = store.jobs.get(job.id)

    assert store.uploads.of_job(again) == ()
    [after] = store.uploads.prepare(again, [{"1": "k1"}])

    assert after.id != before.id
    assert store.uploads.in_use("cloud") == {after.id}
    assert store.uploads.ended("cloud") == {before.id}


def test_no_more_import_jobs_run_than_may(store: NodeStore) -> None:
    uploads = [store.uploads.prepare(queued(store, name), [{"1": "k1"}])[0] for name in "abc"]

    assert [store.uploads.claim(one, 2) for one in uploads] == [True, True, False]
    assert store.uploads.claim(uploads[0], 2), "a repetition after a crash has its place"
    store.uploads.release(uploads[0])
    assert store.uploads.claim(uploads[2], 2)
    assert not store.uploads.claim(uploads[0], 2)
    store.jobs.cancel("b")
    assert store.uploads.claim(uploads[0], 2), "a cancelled job holds no place"


def test_a_job_that_waits_for_a_node_keeps_count_of_its_attempts(store: NodeStore) -> None:
    job = queued(store)
    store.jobs.started(job.id)
    store.jobs.ended(job.id, JobState.WAITING, waits_until=time.time() - 1)

    store.jobs.awaken()

    awake = store.jobs.get(job.id)
    assert (awake.state, awake.attempts, awake.queued_at) == (JobState.QUEUED, 1, job.queued_at)
    assert store.jobs.retried() == (awake,)
    segment = replace(job, id="s", action=JobAction.SEGMENT)
    store.jobs.add([segment])
    store.jobs.started("s")
    store.jobs.ended("s", JobState.WAITING, waits_until=time.time() - 1)
    store.jobs.awaken()
    assert store.jobs.get("s").attempts == 0


def test_uploads_of_ended_jobs_are_forgotten_in_time(store: NodeStore) -> None:
    open_job, ended_job = queued(store, "a"), queued(store, "b")
    store.uploads.prepare(open_job, [{"1": "k1"}])
    store.uploads.prepare(ended_job, [{"1": "k1"}])
    store.jobs.ended("b", JobState.DONE)

    assert History(store.database).forget(time.time() + 1) == 1

    assert store.uploads.of_job(open_job)
    assert not store.uploads.of_job(ended_job)


def test_a_warning_stays_with_a_job_that_is_done(store: NodeStore) -> None:
    job = queued(store)
    assert job.warning == ""
    store.jobs.ended(job.id, JobState.DONE, warning="kept apart")
    assert store.jobs.get(job.id).warning == "kept apart"
