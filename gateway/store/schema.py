"""The tables of the index (SQLAlchemy Core; the same on SQLite and PostgreSQL).

Times are seconds since 1970 in UTC. States of a series and of a job are decided in
`gateway.store.series` and `gateway.store.jobs`.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

studies = Table(
    "studies",
    metadata,
    Column("study_instance_uid", String(64), primary_key=True),
    Column("patient_id", Text, nullable=False, index=True),
    Column("issuer_of_patient_id", Text, nullable=False),
    Column("patient_name", Text, nullable=False),
    Column("patient_birth_date", Text, nullable=False),
    Column("patient_sex", Text, nullable=False),
    Column("study_date", Text, nullable=False, index=True),
    Column("study_time", Text, nullable=False),
    Column("accession_number", Text, nullable=False, index=True),
    Column("study_id", Text, nullable=False),
    Column("study_description", Text, nullable=False),
    Column("referring_physician_name", Text, nullable=False),
)

series = Table(
    "series",
    metadata,
    Column("series_instance_uid", String(64), primary_key=True),
    Column("study_instance_uid", String(64), nullable=False, index=True),
    Column("modality", String(16), nullable=False),
    Column("series_number", Text, nullable=False),
    Column("series_description", Text, nullable=False),
    Column("body_part_examined", Text, nullable=False),
    Column("receiving", Boolean, nullable=False),
    Column("receiving_since", Float, nullable=False),
    Column("expected_instances", Integer),
    Column("expected_by", Text, nullable=False),
    Column("asked_at", Float),
    Column("revision", Integer, nullable=False),
    Column("routed_revision", Integer, nullable=False),
    Column("completed_because", Text, nullable=False),
    Column("completed_at", Float),
    Column("first_activity_at", Float, nullable=False),
    Column("last_activity_at", Float, nullable=False),
    Column("calling_ae", String(16), nullable=False),
    Column("called_ae", String(16), nullable=False),
    Column("source", String(64), nullable=False),
    Index("series_receiving", "receiving", "last_activity_at"),
)

instances = Table(
    "instances",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("sop_instance_uid", String(64), nullable=False),
    Column("sop_class_uid", String(64), nullable=False),
    Column(
        "series_instance_uid",
        String(64),
        ForeignKey("series.series_instance_uid"),
        nullable=False,
    ),
    Column("instance_number", Text, nullable=False),
    Column("transfer_syntax_uid", String(64), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("object_key", String(64), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("current", Boolean, nullable=False),
    Column("received_at", Float, nullable=False),
    UniqueConstraint("sop_instance_uid", "object_key", name="one_row_per_instance_and_content"),
    Index("instances_of_series", "series_instance_uid", "current"),
    Index("instances_by_object", "object_key"),
)

associations = Table(
    "associations",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("receiver", String(64), nullable=False),
    Column("calling_ae", String(16), nullable=False),
    Column("called_ae", String(16), nullable=False),
    Column("host", String(64), nullable=False),
    Column("opened_at", Float, nullable=False),
    Column("closed_at", Float),
    Column("ended", String(16)),
    Index("associations_open", "closed_at", "receiver"),
    Index("associations_of_peer", "calling_ae", "opened_at"),
)

arrivals = Table(
    "arrivals",
    metadata,
    Column("association_id", String(36), ForeignKey("associations.id"), primary_key=True),
    Column("series_instance_uid", String(64), primary_key=True, index=True),
    Column("pause_seconds", Float),
    Index("arrivals_paused", "pause_seconds"),
)

commitments = Table(
    "commitments",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("transaction_uid", String(64), nullable=False),
    Column("calling_ae", String(16), nullable=False),
    Column("called_ae", String(16), nullable=False),
    Column("host", String(64), nullable=False),
    Column("requested", JSON, nullable=False),
    Column("requested_at", Float, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", Float),
    Column("reported_at", Float),
    Column("error", Text, nullable=False),
    UniqueConstraint("transaction_uid", "calling_ae", name="one_row_per_commitment_request"),
    Index("commitments_due", "next_attempt_at"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("series_instance_uid", String(64), primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("rules_digest", String(64), nullable=False),
    Column("decided_at", Float, nullable=False),
    Column("decision", JSON, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("series_instance_uid", String(64), nullable=False, index=True),
    Column("revision", Integer, nullable=False),
    Column("parent_id", String(64)),
    Column("rule", String(128), nullable=False),
    Column("action", String(16), nullable=False),
    Column("node", String(64)),
    Column("model", String(128)),
    Column("send_to", JSON, nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("attempts", Integer, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("error", Text, nullable=False),
    Column("results", JSON, nullable=False),
    Column("segments", JSON, nullable=False),
    Column("timings_ms", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("queued_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    Column("inputs", JSON),
    Column("waits_until", Float),
    Column("waits_beyond", Integer),
    Column("warning", Text),
    Column("identity_change", String(32)),
)

uploads = Table(
    "uploads",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("job_id", String(64), nullable=False, index=True),
    Column("queued_at", Float, nullable=False),
    Column("number", Integer, nullable=False),
    Column("node", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("instances", JSON, nullable=False),
    Column("outcomes", JSON, nullable=False),
    Column("import_job_id", String(64), nullable=False),
    Column("started_at", Float),
    Column("updated_at", Float, nullable=False),
    Index("uploads_of_node", "node", "state"),
)

image_sets = Table(
    "image_sets",
    metadata,
    Column("node", String(64), primary_key=True),
    Column("image_set_id", String(64), primary_key=True),
    Column("series_instance_uid", String(64), nullable=False, index=True),
    Column("version", Integer, nullable=False),
    Column("is_primary", Boolean, nullable=False),
    Column("noted_at", Float, nullable=False),
)

image_set_instances = Table(
    "image_set_instances",
    metadata,
    Column("node", String(64), primary_key=True),
    Column("image_set_id", String(64), primary_key=True),
    Column("sop_instance_uid", String(64), primary_key=True),
    Column("object_key", String(64), nullable=False),
    Index("image_sets_of_instance", "node", "sop_instance_uid"),
    Index("instances_of_image_set", "image_set_id"),
)

pulls = Table(
    "pulls",
    metadata,
    Column("datastore_id", String(64), primary_key=True),
    Column("image_set_id", String(64), primary_key=True),
    Column("source", String(64), nullable=False),
    Column("series_instance_uid", String(64), nullable=False, index=True),
    Column("version", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("begun_at", Float, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("retry_at", Float),
    Column("expected_instances", Integer),
    Column("instances", JSON, nullable=False),
    Column("failures", JSON, nullable=False),
    Column("error", Text, nullable=False),
)

watermarks = Table(
    "watermarks",
    metadata,
    Column("source", String(64), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("updated_until", Float, nullable=False),
)

counters = Table(
    "counters",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

stage_times = Table(
    "stage_times",
    metadata,
    Column("model", String(128), primary_key=True),
    Column("stage", String(32), primary_key=True),
    Column("seconds", Float, nullable=False),
    Column("number", BigInteger, nullable=False),
)

pseudonyms = Table(
    "pseudonyms",
    metadata,
    Column("kind", String(8), primary_key=True),
    Column("pseudonym", String(64), primary_key=True),
    Column("key_id", String(16), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)

processes = Table(
    "processes",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("pid", Integer, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("heartbeat_at", Float, nullable=False),
    Column("detail", JSON, nullable=False),
)
