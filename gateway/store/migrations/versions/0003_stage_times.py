"""What the stages of segmentations took, added up for the metrics page."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "stage_times",
        sa.Column("model", sa.String(128), primary_key=True),
        sa.Column("stage", sa.String(32), primary_key=True),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
    )
