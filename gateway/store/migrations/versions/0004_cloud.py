"""What was uploaded to data stores of AWS HealthImaging, and the image sets it became."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the tables; jobs of before have no warning."""
    op.add_column("jobs", sa.Column("warning", sa.Text))
    op.create_table(
        "uploads",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("job_id", sa.String(64), nullable=False, index=True),
        sa.Column("queued_at", sa.Float, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("node", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("instances", sa.JSON, nullable=False),
        sa.Column("outcomes", sa.JSON, nullable=False),
        sa.Column("import_job_id", sa.String(64), nullable=False),
        sa.Column("started_at", sa.Float),
        sa.Column("updated_at", sa.Float, nullable=False),
    )
    op.create_index("uploads_of_node", "uploads", ["node", "state"])
    op.create_table(
        "image_sets",
        sa.Column("node", sa.String(64), primary_key=True),
        sa.Column("image_set_id", sa.String(64), primary_key=True),
        sa.Column("series_instance_uid", sa.String(64), nullable=False, index=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("is_primary", sa.Boolean, nullable=False),
        sa.Column("noted_at", sa.Float, nullable=False),
    )
    op.create_table(
        "image_set_instances",
        sa.Column("node", sa.String(64), primary_key=True),
        sa.Column("image_set_id", sa.String(64), primary_key=True),
        sa.Column("sop_instance_uid", sa.String(64), primary_key=True),
        sa.Column("object_key", sa.String(64), nullable=False),
    )
    op.create_index("image_sets_of_instance", "image_set_instances", ["node", "sop_instance_uid"])


def downgrade() -> None:
    """Take them away again."""
    for table in ("image_set_instances", "image_sets", "uploads"):
        op.drop_table(table)
    op.drop_column("jobs", "warning")
