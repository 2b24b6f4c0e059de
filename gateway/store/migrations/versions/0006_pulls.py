"""Which image sets of data stores were pulled, and up to which change each source was."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "pulls",
        sa.Column("datastore_id", sa.String(64), primary_key=True),
        sa.Column("image_set_id", sa.String(64), primary_key=True),
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("series_instance_uid", sa.String(64), nullable=False, index=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("begun_at", sa.Float, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("retry_at", sa.Float),
        sa.Column("expected_instances", sa.Integer),
        sa.Column("instances", sa.JSON, nullable=False),
        sa.Column("failures", sa.JSON, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
    )
    op.create_table(
        "watermarks",
        sa.Column("source", sa.String(64), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("updated_until", sa.Float, nullable=False),
    )
    op.create_index("instances_of_image_set", "image_set_instances", ["image_set_id"])


def downgrade() -> None:
    """Take them away again."""
    op.drop_index("instances_of_image_set", "image_set_instances")
    for table in ("watermarks", "pulls"):
        op.drop_table(table)
