"""What is read from Ray's list of jobs, as Ray prints it."""

import pprint

import pytest
from ray.dashboard.modules.job.common import JobStatus
from ray.dashboard.modules.job.pydantic_models import DriverInfo, JobDetails, JobType

from harness.cluster.ray_jobs import Job, job_name, jobs_in, newest_job
from ndcl.errors import UserError
from tests.made.made_ray import listed

LISTED = {
    "pacs-20261124-190000": "RUNNING",
    "raysubmit_x": "PENDING",
    "vlcs-20261125-070000": 2,
    "pacs-20261123-235959": "SUCCEEDED",
    "pacs-2-20261126-000000": "STOPPED",
}


def test_jobs_are_read_with_status_and_exit_code_whatever_their_messages_say() -> None:
    assert jobs_in(listed(LISTED)) == [
        Job(name="pacs-20261124-190000", status="RUNNING"),
        Job(name="raysubmit_x", status="PENDING"),
        Job(name="vlcs-20261125-070000", status="FAILED", exit_code=2),
        Job(name="pacs-20261123-235959", status="SUCCEEDED"),
        Job(name="pacs-2-20261126-000000", status="STOPPED"),
    ]
    assert [job.is_open for job in jobs_in(listed(LISTED))] == [True, True, False, False, False]


def test_a_program_that_was_started_by_hand_is_a_job_too() -> None:
    driver = DriverInfo(id="01000000", node_ip_address="10.0.0.1", pid="7")
    one = JobDetails(
        type=JobType.DRIVER, job_id="01000000", status=JobStatus.RUNNING, entrypoint="python a.py", driver_info=driver
    )
    assert jobs_in(pprint.pformat([one])) == [Job(name="01000000", status="RUNNING", is_submitted=False)]


def test_a_head_without_jobs_is_no_head_that_does_not_answer() -> None:
    assert jobs_in(listed({})) == []
    for said in ("", "ssh: connect to host 192.0.2.1 port 22: Connection refused", "[JobDetails(status=<JobSta)]"):
        with pytest.raises(UserError, match="the head did not list its jobs"):
            jobs_in(said)


def test_the_newest_job_is_found_by_its_name() -> None:
    jobs = jobs_in(listed(LISTED))
    assert newest_job(jobs) == "pacs-2-20261126-000000"
    assert newest_job(jobs, "pacs") == "pacs-20261124-190000"
    assert newest_job(jobs, "vlcs") == "vlcs-20261125-070000"
    assert newest_job(jobs, "digits") is None
    assert newest_job([]) is None


def test_names_of_jobs_tell_when_they_were_submitted() -> None:
    name = job_name("a-1", 0)
    assert name == "a-1-19700101-000000"
    assert newest_job([Job(name=name, status="RUNNING")], "a-1") == name
