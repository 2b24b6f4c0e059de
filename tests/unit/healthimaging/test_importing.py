"""Where an import job writes its results, and what it is set up with."""

import pytest

from gateway.errors import PeerRefused
from gateway.healthimaging.importing import ImportJob, ImportSettings, ImportState, result_place
from gateway.settings import HealthImagingNode
from tests.unit.healthimaging.scripted import data_store

DATA_STORE = "0123456789abcdef0123456789abcdef"
SETTINGS = ImportSettings(
    input_s3_uri="s3://in", output_s3_uri="s3://out/results", role_arn="arn:aws:iam::1:role/x"
)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "s3://out/results",
        "s3://out/results/",
        f"s3://out/results/{DATA_STORE}-DicomImport-f00/",
    ],
)
def test_a_jobs_own_folder_is_found_whichever_the_service_says(said: str) -> None:
    job = ImportJob(import_job_id="f00", state=ImportState.COMPLETED, output_s3_uri=said)
    place = result_place(job, SETTINGS, DATA_STORE)
    assert str(place) == f"s3://out/results/{DATA_STORE}-DicomImport-f00/"


def test_a_node_without_places_names_what_is_missing() -> None:
    node = HealthImagingNode(kind="healthimaging", region="r", datastore_id=DATA_STORE)
    with pytest.raises(PeerRefused, match=r"needs nodes\.cloud\.input_s3_uri, nodes\.cloud\.out"):
        ImportSettings.of(node, data_store())
