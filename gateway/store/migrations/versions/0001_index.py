"""The first index: series, instances, associations, decisions, jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create all tables."""
    op.create_table(
        "studies",
        sa.Column("study_instance_uid", sa.String(64), primary_key=True),
        sa.Column("patient_id", sa.Text, nullable=False, index=True),
        sa.Column("issuer_of_patient_id", sa.Text, nullable=False),
        sa.Column("patient_name", sa.Text, nullable=False),
        sa.Column("patient_birth_date", sa.Text, nullable=False),
        sa.Column("patient_sex", sa.Text, nullable=False),
        sa.Column("study_date", sa.Text, nullable=False, index=True),
        sa.Column("study_time", sa.Text, nullable=False),
        sa.Column("accession_number", sa.Text, nullable=False, index=True),
        sa.Column("study_id", sa.Text, nullable=False),
        sa.Column("study_description", sa.Text, nullable=False),
        sa.Column("referring_physician_name", sa.Text, nullable=False),
    )
    op.create_table(
        "series",
        sa.Column("series_instance_uid", sa.String(64), primary_key=True),
        sa.Column("study_instance_uid", sa.String(64), nullable=False, index=True),
        sa.Column("modality", sa.String(16), nullable=False),
        sa.Column("series_number", sa.Text, nullable=False),
        sa.Column("series_description", sa.Text, nullable=False),
        sa.Column("body_part_examined", sa.Text, nullable=False),
        sa.Column("receiving", sa.Boolean, nullable=False),
        sa.Column("receiving_since", sa.Float, nullable=False),
        sa.Column("expected_instances", sa.Integer),
        sa.Column("expected_by", sa.Text, nullable=False),
        sa.Column("asked_at", sa.Float),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("routed_revision", sa.Integer, nullable=False),
        sa.Column("completed_because", sa.Text, nullable=False),
        sa.Column("completed_at", sa.Float),
        sa.Column("first_activity_at", sa.Float, nullable=False),
        sa.Column("last_activity_at", sa.Float, nullable=False),
        sa.Column("calling_ae", sa.String(16), nullable=False),
        sa.Column("called_ae", sa.String(16), nullable=False),
        sa.Column("source", sa.String(64), nullable=False),
    )
    op.create_index("series_receiving", "series", ["receiving", "last_activity_at"])
    op.create_table(
        "instances",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("sop_instance_uid", sa.String(64), nullable=False),
        sa.Column("sop_class_uid", sa.String(64), nullable=False),
        sa.Column(
            "series_instance_uid",
            sa.String(64),
            sa.ForeignKey("series.series_instance_uid"),
            nullable=False,
        ),
        sa.Column("instance_number", sa.Text, nullable=False),
        sa.Column("transfer_syntax_uid", sa.String(64), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("object_key", sa.String(64), nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("current", sa.Boolean, nullable=False),
        sa.Column("received_at", sa.Float, nullable=False),
        sa.UniqueConstraint(
            "sop_instance_uid", "object_key", name="one_row_per_instance_and_content"
        ),
    )
    op.create_index("instances_of_series", "instances", ["series_instance_uid", "current"])
    op.create_index("instances_by_object", "instances", ["object_key"])
    op.create_table(
        "associations",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("receiver", sa.String(64), nullable=False),
        sa.Column("calling_ae", sa.String(16), nullable=False),
        sa.Column("called_ae", sa.String(16), nullable=False),
        sa.Column("host", sa.String(64), nullable=False),
        sa.Column("opened_at", sa.Float, nullable=False),
        sa.Column("closed_at", sa.Float),
        sa.Column("ended", sa.String(16)),
    )
    op.create_index("associations_open", "associations", ["closed_at", "receiver"])
    op.create_index("associations_of_peer", "associations", ["calling_ae", "opened_at"])
    op.create_table(
        "arrivals",
        sa.Column(
            "association_id", sa.String(36), sa.ForeignKey("associations.id"), primary_key=True
        ),
        sa.Column("series_instance_uid", sa.String(64), primary_key=True, index=True),
        sa.Column("pause_seconds", sa.Float),
    )
    op.create_index("arrivals_paused", "arrivals", ["pause_seconds"])
    op.create_table(
        "commitments",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("transaction_uid", sa.String(64), nullable=False),
        sa.Column("calling_ae", sa.String(16), nullable=False),
        sa.Column("called_ae", sa.String(16), nullable=False),
        sa.Column("host", sa.String(64), nullable=False),
        sa.Column("requested", sa.JSON, nullable=False),
        sa.Column("requested_at", sa.Float, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_attempt_at", sa.Float),
        sa.Column("reported_at", sa.Float),
        sa.Column("error", sa.Text, nullable=False),
        sa.UniqueConstraint("transaction_uid", "calling_ae", name="one_row_per_commitment_request"),
    )
    op.create_index("commitments_due", "commitments", ["next_attempt_at"])
    op.create_table(
        "decisions",
        sa.Column("series_instance_uid", sa.String(64), primary_key=True),
        sa.Column("revision", sa.Integer, primary_key=True),
        sa.Column("rules_digest", sa.String(64), nullable=False),
        sa.Column("decided_at", sa.Float, nullable=False),
        sa.Column("decision", sa.JSON, nullable=False),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("series_instance_uid", sa.String(64), nullable=False, index=True),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("parent_id", sa.String(64)),
        sa.Column("rule", sa.String(128), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("node", sa.String(64)),
        sa.Column("model", sa.String(128)),
        sa.Column("send_to", sa.JSON, nullable=False),
        sa.Column("state", sa.String(16), nullable=False, index=True),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("results", sa.JSON, nullable=False),
        sa.Column("segments", sa.JSON, nullable=False),
        sa.Column("timings_ms", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("queued_at", sa.Float, nullable=False),
        sa.Column("updated_at", sa.Float, nullable=False),
    )
    op.create_table(
        "counters",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "processes",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("started_at", sa.Float, nullable=False),
        sa.Column("heartbeat_at", sa.Float, nullable=False),
        sa.Column("detail", sa.JSON, nullable=False),
    )


def downgrade() -> None:
    """Refuse: an older version cannot know what this one kept."""
    raise RuntimeError("the index cannot go back to before its first version")
